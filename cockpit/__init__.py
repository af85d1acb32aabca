"""The cockpit: pages over the engine's SDK. It plans and starts acts, and shows what the engine knows."""
