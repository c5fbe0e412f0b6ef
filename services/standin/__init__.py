"""The stand-in backend: speaks ComfyUI's wire protocol as recorded and really executes model-free nodes.

It is the demo, the test double and the load generator; it is not ComfyUI and never says so. Nodes that need
a model give a deterministic picture that is visibly marked as a stand-in. Queue and history live in memory.
"""
