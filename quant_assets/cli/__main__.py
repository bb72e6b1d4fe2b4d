"""``python -m quant_assets.cli`` is the command ``quant-assets``."""

from __future__ import annotations

from quant_assets.cli.app import main

if __name__ == "__main__":
    main()
