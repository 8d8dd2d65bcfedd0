"""The phone-number API: numbers, agents, integrations, carriers."""
