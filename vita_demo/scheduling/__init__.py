"""Several answers at once: what each reads, who takes part in the next step, and the thread that owns the model.

Dialogue ─reading→ Reading ─job→ Job ─queue→ FairQueue ─scheduler→ slots ─owner→ Ticket
"""
