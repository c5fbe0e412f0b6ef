"""The run room: durable executions, the queue that gives them to dispatchers, and the runners it knows."""
