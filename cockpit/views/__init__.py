"""View models: from what the engine knows to what a page shows. Pure, no Streamlit."""
