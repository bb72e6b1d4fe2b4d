"""quant_assets: an S&P 500 research database, kept by a Dagster asset graph in DuckDB.

Notebooks read through ``quant_assets.read``; everything else is the command ``quant-assets``.
"""
