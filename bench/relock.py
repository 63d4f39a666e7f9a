"""Write `bench/peers/NAME.txt` anew: what pip chooses for a peer today, every package pinned.

Run as `python bench/relock.py rolter rolter==0.1.0`; then set the version in the peer's TOML.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

_PEERS = Path(__file__).resolve().parent / "peers"


def relock(name: str, requirement: str) -> str:
    with tempfile.TemporaryDirectory(prefix="bench-relock-") as scratch:
        subprocess.run([sys.executable, "-m", "venv", scratch], check=True)
        pip = [f"{scratch}/bin/python", "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", requirement], check=True)
        frozen = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout
    (_PEERS / f"{name}.txt").write_text(frozen)
    return frozen


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.stdout.write(relock(sys.argv[1], sys.argv[2]))
