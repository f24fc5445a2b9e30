"""All that talks to Milvus: connections, requests, batching, data definition, errors of gRPC."""
