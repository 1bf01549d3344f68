"""Several processes that speak gRPC, in front of the one that decides.

What a call costs gRPC is about a third of what a submission costs in all, and Python gives one
process one core. So with ``grpc.workers`` connections end in processes of their own, which know
nothing of commands: they hand each call on as bytes, and hand the answers back. Who may do what,
all limits of callers, and everything that is remembered stay in the gateway's process.
"""
