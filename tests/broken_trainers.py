"""Ways to break a trainer, each with the check that has to see it."""

from __future__ import annotations

from dataclasses import replace

import torch

from editenv.agents import edit_r2 as algorithm
from editenv.agents import flow, rollout, variants
from editenv.agents.audit import edit_r2
from editenv.agents.audit.known import KnownPolicy
from editenv.agents.edit_r2 import Filtered
from editenv.agents.trainer import EditR2Trainer
from editenv.vector import MICEEditVectorEnv


def without_root_of_dt(monkeypatch):
    true = flow.flow_sde_step

    def broken(x, velocity, t, t_next, *rest):
        mean, std = true(x, velocity, t, t_next, *rest)
        return mean, std / torch.sqrt(torch.as_tensor(t - t_next))

    monkeypatch.setattr(flow, "flow_sde_step", broken)


def noise_too_large(monkeypatch):
    true = algorithm.normals
    monkeypatch.setattr(algorithm, "normals", lambda names, shape: 1.2 * true(names, shape))


def words_from_bent_numbers(monkeypatch):
    true = algorithm.uniforms
    monkeypatch.setattr(algorithm, "uniforms", lambda names, count: true(names, count) ** (1.5 if count > 1 else 1))


def stale_log_probs(monkeypatch):
    true, kept = edit_r2.collect_rollout, {}

    def broken(*arguments):
        found = true(*arguments)
        names = ("flow_log_prob_mean", "text_log_prob")
        fresh = {name: found.turns[name] for name in names}
        for name in names:
            old = kept.get(name, fresh[name])
            if old.shape == fresh[name].shape:
                found.turns[name] = old
        kept.update(fresh)
        return found

    monkeypatch.setattr(edit_r2, "collect_rollout", broken)


def training_forgets_the_temperature(monkeypatch):
    true = KnownPolicy.forward

    def colder_in_training(self, turn, settings, **rest):
        return true(self, turn, replace(settings, temperature=settings.temperature / 0.9), **rest)

    monkeypatch.setattr(KnownPolicy, "forward", colder_in_training)


def old_log_probs_taken_anew(monkeypatch):
    """The ratio is 1 for ever, so that no clip ever acts."""
    true = edit_r2.policy_loss

    def broken(now, reference, batch, settings):
        anew = {"flow_log_prob_mean": now.flow_log_prob_mean.detach(), "text_log_prob": now.text_log_prob.detach()}
        return true(now, reference, batch | anew, settings)

    monkeypatch.setattr(edit_r2, "policy_loss", broken)


def log_prob_that_ignores_the_policy(monkeypatch):
    true = edit_r2.evaluate_actions

    def broken(model, batch, *rest):
        found = true(model, batch, *rest)
        return replace(found, flow_log_prob_mean=found.flow_log_prob_mean * 0 + batch["flow_log_prob_mean"])

    monkeypatch.setattr(edit_r2, "evaluate_actions", broken)


def filtered_turns_renormalised_away(monkeypatch):
    true = algorithm.joint_loss

    def broken(terms, trains):
        total, numbers = true(terms, trains)
        return total / trains.float().mean(), numbers

    monkeypatch.setattr(algorithm, "joint_loss", broken)


def no_clip(monkeypatch):
    monkeypatch.setattr(
        algorithm, "clipped_policy_loss", lambda log_ratio, gain, clip: -gain.float() * torch.exp(log_ratio)
    )


def swapped_text_kl(monkeypatch):
    true = algorithm.text_kl
    monkeypatch.setattr(algorithm, "text_kl", lambda policy, reference: true(reference, policy))


def flow_kl_of_the_reference_with_itself(monkeypatch):
    true = algorithm.gaussian_kl
    monkeypatch.setattr(algorithm, "gaussian_kl", lambda now, then, turns: true(now, now, turns))


def advantage_across_groups(monkeypatch):
    def broken(rewards, valid=None, **_):
        known = rewards[valid]
        return ((rewards - known.mean()) / (known.std() + 1e-4)).nan_to_num()

    monkeypatch.setattr(algorithm, "pooled", broken)


def constant_groups_by_a_float32_mean(monkeypatch):
    true = algorithm.pooled

    def broken(rewards, valid=None, **rest):
        return true(rewards.float(), valid, **rest) * 1.001

    monkeypatch.setattr(algorithm, "pooled", broken)


def filter_one_turn_late(monkeypatch):
    true = algorithm.first_failure

    def broken(following, valid=None, **rest):
        keep, counts = true(following, valid, **rest)
        late = torch.cat([torch.ones_like(keep[..., :1]), keep[..., :-1]], -1)
        return Filtered(late, counts)

    monkeypatch.setattr(algorithm, "first_failure", broken)


def filter_that_drops_the_failure_itself(monkeypatch):
    def broken(following, valid=None, **_):
        keep = (following != 0).long().cumprod(-1).bool()
        return Filtered(keep, torch.ones_like(keep))

    monkeypatch.setattr(algorithm, "first_failure", broken)


def filter_that_the_loss_forgets(monkeypatch):
    true = edit_r2.policy_loss

    def broken(now, reference, batch, settings):
        return true(now, reference, batch | {"loss_mask": torch.ones_like(batch["loss_mask"])}, settings)

    monkeypatch.setattr(edit_r2, "policy_loss", broken)


def tries_from_failed_sessions(monkeypatch):
    """A row that failed goes on from where it failed, and calls that a try."""

    def broken(self, active, more):
        failed = self._failed(active)
        rollout.WholeSessions.end_turn(self, active, more)
        for row, fell in enumerate(failed):
            self.is_branch[row] = self.is_branch[row] or fell
        return None

    monkeypatch.setattr(rollout.BranchFromSibling, "end_turn", broken)


def tries_from_another_state(monkeypatch):
    """What is noted down is not where the environments were put."""
    true = MICEEditVectorEnv.set_states

    def broken(self, states):
        return true(self, dict(zip(states, reversed(states.values()), strict=True)))

    monkeypatch.setattr(MICEEditVectorEnv, "set_states", broken)


def tries_paid_across_states(monkeypatch):
    true = variants.per_state

    def broken(batch, std="batch"):
        return true(replace(batch, start_state=torch.zeros_like(batch.start_state)), std)

    monkeypatch.setattr(variants, "per_state", broken)


def window_never_at_the_first_step(monkeypatch):
    true = flow.random_window
    monkeypatch.setattr(flow, "random_window", lambda u, low, *rest: true(u, low + 1, *rest))


def one_window_for_ever(monkeypatch):
    """As where the draw is seeded by the rank at every call."""
    monkeypatch.setattr(flow, "random_window", flow.fixed_window)


def noise_from_the_global_generator(monkeypatch):
    monkeypatch.setattr(algorithm, "normals", lambda names, shape: torch.randn(len(names), *shape))


def seed_ignored(monkeypatch):
    true = algorithm.normals
    monkeypatch.setattr(algorithm, "normals", lambda names, shape: true([(0, *n[1:]) for n in names], shape))


def iteration_ignored(monkeypatch):
    true_normals, true_uniforms = algorithm.normals, algorithm.uniforms

    def still(names):
        return [(n[0], 0, n[2] % 12, *n[3:]) for n in names]

    monkeypatch.setattr(algorithm, "normals", lambda names, shape: true_normals(still(names), shape))
    monkeypatch.setattr(algorithm, "uniforms", lambda names, count: true_uniforms(still(names), count))


def rollouts_of_a_group_alike(monkeypatch):
    true_normals, true_uniforms = algorithm.normals, algorithm.uniforms

    def group(names):
        return [(*n[:3], 0, *n[4:]) for n in names]

    monkeypatch.setattr(algorithm, "normals", lambda names, shape: true_normals(group(names), shape))
    monkeypatch.setattr(algorithm, "uniforms", lambda names, count: true_uniforms(group(names), count))


def start_from_zero_again(monkeypatch):
    monkeypatch.setattr(edit_r2, "newest_checkpoint", lambda _: None)


def resumed_noise_repeats(monkeypatch):
    def iteration(self):
        if not hasattr(self, "first"):
            self.first = self.state.global_step
        return (self.state.global_step - self.first) // 2

    monkeypatch.setattr(EditR2Trainer, "iteration", property(iteration))


def resumed_without_the_optimiser(monkeypatch):
    monkeypatch.setattr(EditR2Trainer, "_load_optimizer_and_scheduler", lambda *_: None)


MUTATIONS = [
    ("ratio", stale_log_probs),
    ("ratio", training_forgets_the_temperature),
    ("ratio", log_prob_that_ignores_the_policy),
    ("density", without_root_of_dt),
    ("density", noise_too_large),
    ("marginals", without_root_of_dt),
    ("marginals", noise_too_large),
    ("marginals", words_from_bent_numbers),
    ("window", window_never_at_the_first_step),
    ("window", one_window_for_ever),
    ("gradient", old_log_probs_taken_anew),
    ("gradient", filtered_turns_renormalised_away),
    ("gradient", no_clip),
    ("kl", swapped_text_kl),
    ("kl", flow_kl_of_the_reference_with_itself),
    ("advantage", advantage_across_groups),
    ("advantage", constant_groups_by_a_float32_mean),
    ("filter", filter_one_turn_late),
    ("filter", filter_that_drops_the_failure_itself),
    ("filter", filter_that_the_loss_forgets),
    ("branching", tries_from_failed_sessions),
    ("branching", tries_from_another_state),
    ("branching", tries_paid_across_states),
    ("seeds", noise_from_the_global_generator),
    ("seeds", seed_ignored),
    ("seeds", iteration_ignored),
    ("seeds", rollouts_of_a_group_alike),
    ("resume", start_from_zero_again),
    ("resume", resumed_noise_repeats),
    ("resume", resumed_without_the_optimiser),
]
