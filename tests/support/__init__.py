"""What several tests share: brokers, a scripted bridge, a gateway in one call."""
