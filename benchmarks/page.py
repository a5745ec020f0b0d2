"""How long a stranger takes: from opening the page of a running `faceref serve` to the example restored, one click."""

import argparse
import shutil
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

PATIENCE = 300_000  # milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:8000")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser's program")
    parser.add_argument("--shots", type=Path, help="a folder for pictures of the page: wide, narrow, light, dark")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox"])
        for width, height in ((1280, 800), (390, 844)):
            for scheme in ("light", "dark"):
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                page = context.new_page()
                print(f"{width} px, {scheme}: {restore_example(page, arguments.address):.1f} s")
                if arguments.shots:
                    arguments.shots.mkdir(parents=True, exist_ok=True)
                    page.screenshot(path=arguments.shots / f"{width}-{scheme}.png")
                context.close()
        browser.close()


def restore_example(page: Page, address: str) -> float:
    """Seconds until before and after are shown."""
    page.set_default_timeout(PATIENCE)
    started = time.perf_counter()
    page.goto(address)
    page.get_by_role("button", name="Try it with an example").click()
    page.locator("#outcome").wait_for()
    page.locator("#blend img").wait_for(state="attached")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
