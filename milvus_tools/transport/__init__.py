"""All that talks to Milvus: connections, requests, batching, and data definition."""
