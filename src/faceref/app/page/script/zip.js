/** Files as one ZIP archive, stored as they are: pictures are compressed already. (APPNOTE.TXT 4.3, no ZIP64.) */

const UTF8 = 0x0800; // names are
const VERSION = 20;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/**
 * @param {{name: string, data: Uint8Array<ArrayBuffer>}[]} files names are each once @param {Date} now
 * @returns {Blob}
 */
export function zip(files, now) {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const parts = [];
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const directory = [];
  let offset = 0;
  for (const { name, data } of files) {
    const called = new TextEncoder().encode(name);
    const about = header(data, called.length, now);
    const local = joined(numbers([0x04034b50, 4]), about, called);
    directory.push(
      joined(numbers([0x02014b50, 4], [VERSION, 2]), about, numbers([0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), called),
    );
    parts.push(local, data);
    offset += local.length + data.length;
  }
  const size = directory.reduce((sum, entry) => sum + entry.length, 0);
  const count = files.length;
  const end = numbers([0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [size, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** What a file's own header and its entry in the directory share. @param {Uint8Array} data @param {number} nameLength @param {Date} now */
function header(data, nameLength, now) {
  const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
  const day = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  const { length } = data;
  return numbers(
    [VERSION, 2],
    [UTF8, 2],
    [0, 2],
    [time, 2],
    [day, 2],
    [crc32(data), 4],
    [length, 4],
    [length, 4],
    [nameLength, 2],
    [0, 2],
  );
}

/** Little-endian. @param {...[number, number]} fields values and their sizes in bytes */
function numbers(...fields) {
  const bytes = fields.flatMap(([value, size]) => Array.from({ length: size }, (_, i) => (value >>> (8 * i)) & 255));
  return Uint8Array.from(bytes);
}

/** @param {...Uint8Array} arrays */
function joined(...arrays) {
  const whole = new Uint8Array(arrays.reduce((sum, array) => sum + array.length, 0));
  let at = 0;
  for (const array of arrays) {
    whole.set(array, at);
    at += array.length;
  }
  return whole;
}

/** @param {Uint8Array} data */
function crc32(data) {
  let value = 0xffffffff;
  for (const byte of data) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
