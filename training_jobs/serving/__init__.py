"""The code that answers at the endpoint. A model's archive carries this whole folder; no file here imports torch or pyarrow."""
