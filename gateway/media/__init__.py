"""RTP and audio: ports, relay, G.711, DTMF, tones, recording. Knows nothing of SIP messages or of routing."""
