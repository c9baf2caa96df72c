"""The pipeline a competent team builds in a week: FastAPI, one event a record, Faust tables, Parquet."""
