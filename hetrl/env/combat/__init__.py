"""The rules of :mod:`hetrl.env.battle`, as functions of tensors: who fights, what a step does, who sees what."""
