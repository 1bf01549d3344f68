"""Between the schema and what travels on MQTT: DJI's JSON, its envelope and its topics. Pure."""
