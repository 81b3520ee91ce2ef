"""Attacks on what leaves a gate, each with a positive control: where the defence is off it must succeed.

Everything between the app's reply and what the server decodes is the product's own: filter, codec, noise, ledger,
receiver. The attackers know the model, the plan and the layout; the images are real (examples/images), those that the
attacker has to itself are other ones. What is shown here, and what is not, is said in docs/threat-model.md.
"""
