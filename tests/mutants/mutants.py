"""Ways to break the library, and the tests that must notice each.

The name of a mutant says what it does. Each takes the function or method that its target names,
and returns a broken one.
"""

import hashlib
import inspect
import math
import os
import sqlite3
import sys
from contextlib import nullcontext
from dataclasses import replace
from unittest.mock import patch

import torch
from mutants.plugin import mutant

from sparring import printing
from sparring.experiments import environment
from sparring.files import Draft
from sparring.training import checkpoint

# batches and corruption


@mutant("sparring.batch:not_answer", "tests/test_batch.py")
def the_answer_is_drawn_as_a_negative(original):
    return lambda answer, ids: torch.ones_like(original(answer, ids))


@mutant("sparring.groups:ungroup", "tests/test_batch.py")
def candidate_lists_take_turns_instead_of_serving_consecutive_queries(original):
    return lambda lists, batch: lists.repeat(batch // len(lists), 1)


@mutant("sparring.corruption:make_queries", "tests/test_corruption.py")
def head_queries_have_the_relation_of_tail_queries(original):
    def broken(triples, head, num_relations):
        queries = original(triples, head, num_relations)
        return replace(queries, relation=queries.relation % num_relations)

    return broken


@mutant("sparring.corruption:tails_per_head", "tests/test_corruption.py")
def bernoulli_asks_for_the_side_with_many_answers(original):
    return lambda graph: 1 / original(graph)


@mutant("sparring.corruption:Corruption._weight", "tests/test_corruption.py")
def common_facts_weigh_more(original):
    def broken(self, count):
        weight = 1 / original(self, count)
        return weight / weight.mean()

    return broken


@mutant("sparring.seeds:Seeds.number", "tests/test_seeds.py")
def random_streams_depend_on_the_order_of_use(original):
    return lambda self, name: original(self, f"{name}/{len(self.streams)}")


# look-up of known facts, and kernels


@mutant("sparring.data.index:TripleIndex.contains", "tests/data/test_index.py")
def inverse_facts_are_not_known(original):
    def broken(self, queries, ids):
        return original(self, queries, ids) & (queries.relation < self.num_relations).unsqueeze(1)

    return broken


@mutant("sparring.kernels.lookup:missing_between", "tests/data/test_index.py")
def the_rank_among_unknown_entities_stops_at_a_known_answer(original):
    return lambda values, start, stop, longest, rank: original(
        values, start, torch.maximum(start, stop - 1), longest, rank
    )


@mutant("sparring.kernels.ranking:count_greater", "tests/evaluation/test_ranking.py")
def ties_are_not_seen(original):
    def broken(scores, target):
        above, _ = original(scores, target)
        return above, above + 1

    return broken


@mutant("sparring.kernels.multi_index:probability_of", "tests/generators/test_multi_index.py")
def the_probability_of_a_draw_leaves_out_uniform_draws(original):
    return lambda *given: original(*given[:-2], 0.0, given[-1])


@mutant("sparring.kernels.losses:hinge", "tests/contracts/test_losses.py -k margin")
def a_margin_counts_masked_candidates(original):
    return lambda weight, mask, *given: original(weight, torch.ones_like(mask), *given)


@mutant("sparring.kernels.optim:rowwise_adagrad_step", "tests/test_optim.py")
def adagrad_forgets_earlier_gradients(original):
    return lambda parameter, grad, total, *given: original(parameter, grad, total.zero_(), *given)


@mutant("sparring.kernels.distillation:distill", "tests/generators/test_student.py")
def the_student_is_not_corrected_for_the_density_of_candidates(original):
    def broken(entity, relation, anchor, kind, answer, ids, log_q, *given):
        return original(entity, relation, anchor, kind, answer, ids, 0 * log_q, *given)

    return broken


@mutant("sparring.embedding:GradientAccumulator.total", "tests/test_embedding.py")
def only_the_last_use_of_a_table_has_a_gradient(original):
    def broken(self, *given):
        self.pending = self.pending[-1:]
        return original(self, *given)

    return broken


# samplers


@mutant("sparring.samplers.frequency:Uniform.sample", "tests/contracts/test_samplers.py -k uniform")
def entity_0_is_never_drawn(original):
    def broken(self, *given):
        drawn = original(self, *given)
        return self.to_negatives(given[0], drawn.ids.clamp(min=1))

    return broken


@mutant("sparring.samplers.frequency:Uniform.sample", "tests/contracts/test_samplers.py -k uniform")
def draws_come_from_the_global_random_state(original):
    return lambda self, queries, score, rng: original(self, queries, score, None)


@mutant(
    "sparring.samplers.frequency:Popularity.sample",
    "tests/samplers/test_frequency.py -k popular",
)
def popularity_has_another_power_than_given(original):
    def broken(self, *given):
        share = self.log_popularity.double().exp() ** 0.8
        with patch.object(self, "cumulative", share.cumsum(0)):
            return original(self, *given)

    return broken


@mutant("sparring.samplers.frequency:log_exceeds", "tests/samplers/test_frequency.py")
def draws_without_replacement_have_the_density_of_draws_with_replacement(original):
    return lambda margin: margin


@mutant(
    "sparring.samplers.wrappers:MaskKnown.sample", "tests/contracts/test_samplers.py -k known_facts"
)
def known_facts_are_drawn_as_negatives(original):
    return lambda self, *given: self.inner.sample(*given)


@mutant(
    "sparring.samplers.wrappers:ResampleKnown._log_gain",
    "tests/contracts/test_samplers.py -k resample",
)
def the_density_leaves_out_further_draws(original):
    return lambda self, queries: torch.zeros_like(original(self, queries))


@mutant("sparring.samplers.wrappers:Mixture._mean", "tests/samplers/test_wrappers.py")
def the_parts_of_a_mixture_count_the_same_whatever_they_draw(original):
    def broken(self, log_probs):
        found = [log_prob for log_prob in log_probs if log_prob is not None]
        return torch.stack(found).logsumexp(0) - math.log(len(found))

    return broken


@mutant(
    "sparring.samplers.base:SamplerWrapper.observe", "tests/contracts/test_samplers.py -k feedback"
)
def wrappers_keep_the_feedback_for_themselves(original):
    return lambda self, feedback: {}


# generators


@mutant(
    "sparring.generators.multi_index:InvertedMultiIndex.assign",
    "tests/generators/test_multi_index.py",
)
def new_assignments_take_effect_one_by_one(original):
    def broken(self, vectors, bias):
        original(self, vectors, bias)
        self.cell.copy_(self.next_cell)

    return broken


@mutant(
    "sparring.generators.ns_generator:NSGenerator._distillation_loss",
    "tests/generators/test_ns_generator.py -k known_answers",
)
def the_student_learns_to_draw_known_answers(original):
    def broken(self, feedback):
        mask = torch.ones_like(feedback.negatives.mask)
        return original(self, replace(feedback, negatives=replace(feedback.negatives, mask=mask)))

    return broken


@mutant(
    "sparring.generators.false_negatives:FalseNegativePolicy.apply",
    "tests/generators/test_false_negatives.py -k weigh",
)
def probable_false_negatives_count_like_others(original):
    def broken(self, drawn, p_false_negative):
        return replace(drawn, p_false_negative=p_false_negative)

    return broken


# losses


@mutant("sparring.losses.base:weighted_mean", "tests/contracts/test_losses.py")
def all_queries_weigh_the_same(original):
    return lambda rows, weight: rows.mean()


@mutant("sparring.losses.base:to_float32", "tests/contracts/test_losses.py")
def losses_are_computed_in_the_precision_of_the_model(original):
    return lambda scores: scores


@mutant("sparring.losses.base:effective_weight", "tests/contracts/test_losses.py")
def masked_candidates_count(original):
    return lambda negatives: negatives.weight


@mutant("sparring.losses.base:softmax_weights", "tests/losses")
def self_adversarial_weights_have_a_gradient(original):
    def broken(weight, score, temperature):
        logit = (temperature * score).masked_fill(weight == 0, -torch.inf)
        found = original(weight, score, temperature)
        return found + logit.softmax(1) - logit.softmax(1).detach()

    return broken


@mutant("sparring.losses.base:log_importance_weights", "tests/losses/test_softmax.py")
def the_density_corrects_the_wrong_way(original):
    return lambda weight, log_q: weight.log() + log_q


# models


@mutant("sparring.models.base:EmbeddingModel.inverse_sign", "tests/models/test_base.py")
def the_inverse_of_a_relation_is_the_relation(original):
    return lambda self, relation: original(self, relation).abs()


@mutant(
    "sparring.models.adjacency:RelationalAdjacency.edges_without", "tests/models/test_adjacency.py"
)
def a_query_sees_its_own_fact_from_the_other_end(original):
    def broken(self, queries):
        own = self.known.find(queries, queries.answer.unsqueeze(1)).squeeze(1)
        return self.all_edges().index_fill(0, own[own >= 0], 0.0)

    return broken


@mutant("sparring.models.gnn:GNNModel.encoding", "tests/models/test_gnn.py")
def the_encoding_of_old_parameters_is_kept(original):
    def broken(self, queries):
        return original(self, queries) if self.training or self.cache is None else self.cache[1]

    return broken


@mutant("sparring.models.rules:_zero_rules", "tests/models/test_rules.py")
def rules_are_certain_of_what_they_saw_once(original):
    return lambda graph, unseen_negatives: original(graph, 0.0)


# optimizer, update step and trainer


@mutant(
    "sparring.training.step:TrainingStep.forward",
    "tests/contracts/test_everything_together.py -k penalty",
)
def the_regularization_is_left_out(original):
    def broken(self, *given):
        nothing = lambda queries: queries.weight.new_zeros(())
        with patch.object(self.model, "regularization", nothing):
            return original(self, *given)

    return broken


@mutant(
    "sparring.training.step:TrainingStep.forward", "tests/training/test_checkpoint.py -k resumes"
)
def gradients_add_up_over_steps(original):
    def broken(self, triples, optimizer, rng):
        with patch.object(optimizer, "zero_grad"):
            return original(self, triples, optimizer, rng)

    return broken


@mutant(
    "sparring.training.step:TrainingStep.forward",
    "tests/contracts/test_everything_together.py -k gradients",
)
def samplers_see_scores_with_gradients(original):
    def broken(self, *given):
        sample = self.sampler.sample
        unwrapped = lambda queries, score, rng: sample(queries, inspect.unwrap(score), rng)
        with patch.object(self.sampler, "sample", unwrapped):
            return original(self, *given)

    return broken


@mutant("sparring.losses.base:Loss.check", "tests/contracts/test_everything_together.py -k density")
def a_loss_accepts_a_sampler_without_density(original):
    return lambda self, sampler, model=None: None


@mutant("sparring.training.trainer:Trainer._epoch_order", "tests/training/test_trainer.py -k order")
def every_epoch_has_the_same_order(original):
    return lambda self, epoch: original(self, 0)


@mutant(
    "sparring.training.averaging:WeightAverage._before_step", "tests/training/test_averaging.py"
)
def rows_that_rested_have_their_new_value_in_the_average_of_the_past(original):
    return lambda self, *_: None


@mutant("sparring.models.bilinear:RESCAL.multiply", "tests/models/test_bilinear.py")
def dura_forgets_the_transpose(original):
    return lambda self, vectors, queries, *, transpose=False, dropout=0.0: original(
        self, vectors, queries, dropout=dropout
    )


@mutant("sparring.training.trainer:Trainer.resume", "tests/training/test_checkpoint.py -k resumes")
def the_optimizer_starts_anew_after_a_restart(original):
    def broken(self):
        with patch.object(self.optimizer, "load_state_dict"):
            original(self)

    return broken


@mutant(
    "sparring.training.trainer:_set_global_random_state",
    "tests/training/test_checkpoint.py -k resumes",
)
def dropout_starts_anew_after_a_restart(original):
    return lambda states, device: None


@mutant("sparring.files:json_digest", "tests/training/test_checkpoint.py")
def altered_numbers_are_accepted(original):
    return lambda body: ""


@mutant("sparring.files:replaced_atomically", "tests/training/test_checkpoint.py")
def a_checkpoint_is_written_in_place(original):
    return lambda path: nullcontext(Draft(path, path))


# evaluation


@mutant("sparring.evaluation.ranking:check_no_nan", "tests/evaluation/test_ranking.py")
def nan_passes_as_a_rank(original):
    return lambda queries, scores: None


@mutant("sparring.evaluation.ranking:eval_mode", "tests/evaluation/test_ranking.py")
def dropout_stays_on_during_evaluation(original):
    return lambda model: torch.no_grad()


@mutant("sparring.evaluation.audit:_Facts.among", "tests/evaluation/test_audit.py")
def withheld_facts_pass_as_true_negatives(original):
    def broken(self, queries, ids):
        known, withheld = original(self, queries, ids)
        return known, torch.zeros_like(withheld)

    return broken


@mutant("sparring.evaluation.audit:restored", "tests/evaluation/test_audit.py")
def a_sampler_learns_while_it_is_audited(original):
    return nullcontext


@mutant("sparring.evaluation.candidates:facts_of", "tests/evaluation/test_predict.py")
def known_facts_are_predicted(original):
    return lambda graph, splits, device: original(graph, (), device)


# integrations and configuration


@mutant("sparring.integrations.adapter:Adapter.draw_queries", "tests/integrations/test_adapter.py")
def an_adapter_learns_only_when_it_is_asked_to(original):
    def broken(self, triples):
        with patch.object(self, "flush"):
            return original(self, triples)

    return broken


@mutant("sparring.integrations.adapter:Adapter.predicts_head", "tests/integrations/test_adapter.py")
def an_adapter_names_the_wrong_end(original):
    return lambda self, queries: ~original(self, queries)


@mutant("sparring.experiments.config:merged", "tests/experiments/test_config.py")
def options_of_another_part_are_kept(original):
    return lambda base, over: {
        key: {**base[key], **over[key]}
        if isinstance(base.get(key), dict) and isinstance(over.get(key), dict)
        else over.get(key, base.get(key))
        for key in {**base, **over}
    }


@mutant("sparring.registry:with_current_names", "tests/test_registry.py")
def former_names_of_options_are_dropped(original):
    def broken(given, renamed, where):
        return original({key: value for key, value in given.items() if key not in renamed}, {}, "")

    return broken


@mutant("sparring.testing.samplers:chi_square", "tests/testing/test_samplers.py -k follow")
def wrong_densities_pass_the_kit(original):
    return lambda counts, expected: 1.0


# what a folder of a run, a file of data, a name or a killed process may do


@mutant("sparring.registry:_working_directory_last", "tests/experiments/test_trust.py -k installed")
def the_working_directory_comes_before_installed_modules(original):
    return lambda: patch.object(sys, "path", [os.getcwd(), *sys.path])


@mutant(
    "sparring.experiments.trust:refuse_foreign_code",
    "tests/experiments/test_trust.py -k refused_before_it_runs",
)
def opening_a_run_executes_what_it_names(original):
    return lambda tables, path: None


@mutant("sparring.registry:_checked_kind", "tests/experiments/test_trust.py -k another_family")
def any_named_object_is_called(original):
    return lambda found, name, registry, where: found


@mutant(
    "sparring.experiments.trust:check_config_digest",
    "tests/experiments/test_trust.py -k altered_after_training",
)
def a_configuration_may_change_after_training(original):
    return lambda state, tables, path: None


@mutant("sparring.data.database:_sqlite", "tests/data/test_database.py -k no_other_file")
def a_query_may_write_anywhere(original):
    return lambda path: (lambda: sqlite3.connect(path), sqlite3.Error)


@mutant("sparring.files:open_in_place", "tests/test_files.py -k link")
def links_are_followed(original):
    return lambda path, mode, **options: path.open(mode, **options)


@mutant("sparring.training.trainer:_best_state", "tests/training/test_trainer.py -k place_of_the")
def the_last_epoch_takes_the_place_of_a_lost_best_one(original):
    return lambda folder, progress: checkpoint.load(
        folder, "best" if checkpoint.exists(folder, "best") else "last"
    )


@mutant(
    "sparring.data.graph:KnowledgeGraph.known_for_validation",
    "tests/experiments/test_run.py -k test_triples_change",
)
def validation_filters_by_test_facts(original):
    return property(lambda self: self.known)


@mutant("sparring.data.graph:KnowledgeGraph.hash", "tests/experiments/test_run.py -k other_labels")
def hashes_ignore_labels(original):
    return lambda self, version=2: original(self, 1)


@mutant("sparring.data.hashes:digest_of_strings", "tests/data/test_vocabulary.py -k digest")
def a_digest_takes_two_lists_of_names_for_one(original):
    return lambda strings: hashlib.blake2b("\0".join(strings).encode()).digest()


@mutant("sparring.experiments.callbacks:_end", "tests/experiments/test_callbacks.py -k dropped")
def the_log_is_not_cut_on_resume(original):
    return lambda path, step: path.stat().st_size


@mutant(
    "sparring.training.trainer:_of_another_model", "tests/training/test_trainer.py -k another_model"
)
def a_checkpoint_that_does_not_fit_ends_in_a_traceback(original):
    return lambda folder: nullcontext()


@mutant("sparring.experiments.console:exit_code", "tests/experiments/test_console.py -k do_not_fit")
def lack_of_memory_ends_in_a_traceback(original):
    return lambda error: None if "DefaultCPUAllocator" in str(error) else original(error)


@mutant("sparring.files:remove_drafts", "tests/experiments/test_run.py -k drafts")
def drafts_of_killed_processes_stay(original):
    return lambda folder, below=True: None


@mutant("sparring.files:_sync", "tests/test_files.py -k last")
def folders_are_not_synced(original):
    return lambda folder: None


@mutant("sparring.files:_acquire", "tests/test_files.py -k in_use")
def two_processes_may_write_to_a_folder(original):
    return lambda path, wait: path.parent.mkdir(parents=True, exist_ok=True)


@mutant("sparring.experiments.run_folder:_damaged", "tests/experiments/test_run.py -k foreign_file")
def foreign_files_end_in_a_traceback(original):
    return lambda path, what="": nullcontext()


@mutant("sparring.files:unsealed", "tests/experiments/test_trust.py -k altered_number")
def altered_results_are_shown(original):
    return lambda found: {key: value for key, value in found.items() if key != "digest"}


@mutant("sparring.data.datasets:_check", "tests/data/test_datasets.py -k first_uses")
def a_download_is_never_checked_again(original):
    return lambda name, folder: None


@mutant("sparring.data.datasets:locked", "tests/data/test_datasets.py -k at_once")
def two_downloads_write_to_one_folder(original):
    return lambda folder, wait=False: nullcontext()


@mutant("torch:Tensor.isfinite", "tests/experiments/test_pretrained.py -k not_finite")
def a_teacher_may_have_vectors_of_nan(original):
    return lambda self: torch.ones_like(self, dtype=torch.bool)


@mutant("sparring.printing:printable", "tests/evaluation/test_predict.py -k control")
def names_reach_the_terminal_as_they_are(original):
    return lambda text, keep="": text


@mutant("sparring.printing:cell", "tests/test_printing.py -k formula")
def formulas_reach_spreadsheets(original):
    return printing.printable


@mutant(
    "sparring.experiments.environment:_commit", "tests/experiments/test_environment.py -k contains"
)
def the_commit_of_any_repository_is_recorded(original):
    return lambda: environment._git("rev-parse", "HEAD")


@mutant(
    "sparring.experiments.run:warn_of_other_origin", "tests/experiments/test_run.py -k versions"
)
def other_versions_are_not_mentioned(original):
    return lambda folder, now: None


# pages and reviews


@mutant(
    "sparring.evaluation.probability:ProbabilityCalibration.__call__",
    "tests/evaluation/test_probability.py -k lack",
)
def all_queries_lack_as_many_answers(original):
    return lambda self, score, log_norm, answers=None: original(self, score, log_norm)


@mutant("sparring.serve.queue:ReviewQueue.trim", "tests/serve/test_workspace.py -k keeps")
def the_queue_keeps_every_candidate(original):
    return lambda self, most: None


@mutant("sparring.serve.labels:_text", "tests/serve/test_labels.py -k typed")
def a_label_that_several_names_have_is_typed(original):
    return lambda connection, name, label, kind: label or name
