"""The data contract, shards and datamodules."""
