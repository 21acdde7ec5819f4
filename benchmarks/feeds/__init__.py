"""Feeds under load, each figure beside a bare grpc.aio stream of the same messages."""
