// What single changes cost a loaded engine: endpoints, policies, namespaces, nets, and a million of them.
//
// Times are CPU time of this thread from resources to delta, the delta's making included.
#include <time.h>

#include <algorithm>
#include <functional>
#include <random>
#include <set>

#include "base/large_pages.h"
#include "bench/engine_feed.h"
#include "test/support/shapes/label_index.h"
#include "test/support/shapes/tag_policies.h"

namespace ocicat::bench {
namespace {

using test::TagPolicies;

constexpr std::uint64_t kSeed = 20240229;

double thread_microseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) * 1e-3;
}

// Microseconds that an update takes. `look` sees the delta, outside of that time.
double measure(Engine& engine, const ResourceChanges& changes,
               const std::function<void(const HostChanges&)>& look = {}) {
  const auto start = thread_microseconds();
  const auto delta = engine.update(changes);
  const auto time = thread_microseconds() - start;
  if (look) look(delta);
  return time;
}

ResourceChanges only(test::Item item) {
  ResourceChanges changes;
  changes.update(std::move(item.key), std::move(item.resource));
  return changes;
}

ResourceChanges without(const ResourceKey& key) {
  ResourceChanges changes;
  changes.remove(key);
  return changes;
}

void print(const char* what, const std::vector<double>& times) {
  std::fprintf(stderr, "%s: p50 %.2f us, p99 %.2f us, max %.2f us, %zu times\n", what, percentile(times, 0.5),
               percentile(times, 0.99), percentile(times, 1), times.size());
}

// --- S4 ---

// CPU microseconds an update where endpoints move from selector to selector.
double endpoint_updates(Feed& feed, const test::LabelIndex& shape, unsigned updates,
                        std::mt19937_64& random) {
  constexpr unsigned kTogether = 50;
  double seconds = 0;
  for (unsigned done = 0; done < updates;) {
    ResourceChanges changes;
    while (changes.size() < kTogether) {
      auto [key, resource] = shape.endpoint(static_cast<unsigned>(random() % shape.endpoints),
                                            static_cast<unsigned>(random() % shape.selectors));
      changes.update(std::move(key), std::move(resource));
    }
    done += kTogether;
    const auto delta = timed(seconds, [&] { return feed.engine().update(changes); });
    CHECK(delta.tables.classes.size() <= kTogether);
  }
  return seconds * 1e6 / updates;
}

void updates(benchmark::State& state) {
  std::mt19937_64 random(kSeed);
  const test::LabelIndex few{.selectors = 10};
  const test::LabelIndex many{.selectors = 10'000};
  Feed with_few, with_many;
  with_few.load(few);
  with_few.describe();
  with_many.load(many);
  with_many.describe();
  for (auto _ : state) {
    std::vector<double> ratios, costs;
    for (int round = 0; round < 15; ++round) {
      const auto cost_few = endpoint_updates(with_few, few, 20'000, random);
      const auto cost_many = endpoint_updates(with_many, many, 20'000, random);
      ratios.push_back(cost_many / cost_few);
      costs.push_back(cost_many);
    }
    std::fprintf(stderr, "10,000 selectors: %.2f us an update; ratio %.2f to %.2f\n", percentile(costs, 0.5),
                 percentile(ratios, 0), percentile(ratios, 1));
    figure(state, "engine-updates", 1e6 / percentile(costs, 0.5), "/s");
    figure(state, "engine-updates-ratio", percentile(ratios, 0.5), "times");
  }
}

// --- S1, loaded ---

const TagPolicies kS1;

void endpoint_change(benchmark::State& state) {
  Feed feed;
  feed.load(kS1);
  std::mt19937_64 random(kSeed);
  for (auto _ : state) {
    std::vector<double> labels, joins, leaves;
    const auto one_entry = [](const HostChanges& delta) {
      CHECK(delta.tables.classes.size() <= 1 && delta.tables.tables.empty() && delta.tables.programs.empty());
    };
    for (int i = 0; i < 5'000; ++i) {
      const auto number = static_cast<unsigned>(random() % kS1.remote);
      labels.push_back(measure(feed.engine(), only(kS1.endpoint(number, random() % 31)), one_entry));
      auto item = kS1.endpoint(static_cast<unsigned>(random() % kS1.remote));
      leaves.push_back(measure(feed.engine(), without(item.key), one_entry));
      joins.push_back(measure(feed.engine(), only(std::move(item)), one_entry));
    }
    print("label change", labels);
    print("vanishes", leaves);
    print("appears", joins);
    auto& all = labels;
    all.insert(all.end(), joins.begin(), joins.end());
    all.insert(all.end(), leaves.begin(), leaves.end());
    figure(state, "engine-endpoint-change", percentile(all, 0.99), "us");
  }
}

void policy_change(benchmark::State& state) {
  Feed feed;
  feed.load(kS1);
  std::mt19937_64 random(kSeed);
  const auto policy = [&] {
    return test::allow_from("for-everyone", "all()",
                            {fmt::format("has({})", TagPolicies::marker(random() % 31))});
  };
  feed.update(policy());
  feed.describe();
  for (auto _ : state) {
    std::vector<double> times;
    for (int i = 0; i < 300; ++i) times.push_back(measure(feed.engine(), only(policy())));
    print("policy change", times);
    figure(state, "engine-policy-change", percentile(times, 0.99) / 1000, "ms");
  }
}

void namespace_change(benchmark::State& state) {
  constexpr unsigned kEndpoints = 1'000;
  Feed feed;
  feed.load(kS1);
  const auto profile = [](bool trusted) {
    return test::namespace_profile("moving", {{"pcns.trusted", trusted ? "true" : "false"}});
  };
  feed.add(profile(false));
  feed.add(test::allow_from("from-trusted", "all()", {"pcns.trusted == 'true'"}));
  for (unsigned i = 0; i < kEndpoints; ++i) {
    auto [key, resource] = kS1.endpoint(i);
    auto& endpoint = std::get<WorkloadEndpoint>(resource);
    endpoint.metadata.ns = key.ns = "moving";
    endpoint.metadata.labels["projectcalico.org/namespace"] = "moving";
    endpoint.profiles = {"kns.moving"};
    endpoint.addresses = {IpAddress::v4(0x0b000001 + i)};
    feed.add({key, endpoint});
  }
  feed.flush();
  feed.describe();
  for (auto _ : state) {
    std::vector<double> times;
    for (int i = 0; i < 300; ++i) {
      times.push_back(measure(feed.engine(), only(profile(i % 2 == 0)), [](const HostChanges& delta) {
        CHECK(delta.tables.classes.size() == kEndpoints);
      }));
    }
    print("namespace change", times);
    figure(state, "engine-namespace-change", percentile(times, 0.99) / 1000, "ms");
  }
}

void wide_net(benchmark::State& state) {
  Feed feed;
  feed.load(kS1);
  const auto item = test::TagPolicies::from_outside();
  for (auto _ : state) {
    std::vector<double> times;
    std::size_t most = 0;
    const auto look = [&](const HostChanges& delta) {
      std::size_t addresses = 0;
      for (const auto& [prefix, change] : delta.tables.classes.entries())
        addresses += prefix.is_host() ? 1 : 0;
      most = std::max(most, addresses);
    };
    for (int i = 0; i < 50; ++i) {
      times.push_back(measure(feed.engine(), only(item), look));
      times.push_back(measure(feed.engine(), without(item.key), look));
    }
    print("wide net", times);
    figure(state, "engine-wide-net", percentile(times, 0.99) / 1000, "ms");
    figure(state, "engine-wide-net-writes", static_cast<double>(most), "addresses");
  }
}

// --- churn ---

// Random changes to S1: endpoints change a label or come and go, policies come and go, namespaces are
// relabelled. `restore` undoes what is left of them.
class Churn {
 public:
  Churn(Feed& feed, std::uint64_t seed) : feed_(feed), random_(seed) {}

  void change() {
    switch (const auto what = random_() % 1'000; what < 2 ? what : 2 + what % 3) {
      case 0:
        policy(static_cast<unsigned>(random_() % kS1.policies));
        break;
      case 1:
        relabel(static_cast<unsigned>(random_() % TagPolicies::kNamespaces));
        break;
      default:
        endpoint(static_cast<unsigned>(random_() % (kS1.remote + kS1.local)));
    }
  }
  void restore() {
    for (const auto number : endpoints_) feed_.add(kS1.endpoint(number));
    for (const auto number : policies_) feed_.add(TagPolicies::policy(number));
    for (const auto number : namespaces_) feed_.add(TagPolicies::profile(number));
    feed_.flush();
    endpoints_.clear();
    policies_.clear();
    namespaces_.clear();
  }

 private:
  void endpoint(unsigned number) {
    endpoints_.insert(number);
    if (random_() % 3 == 0) {
      feed_.remove(kS1.endpoint(number).key);
    } else {
      feed_.update(kS1.endpoint(number, random_() % 31));
    }
  }
  void policy(unsigned number) {
    policies_.insert(number);
    auto item = TagPolicies::policy(number);
    if (random_() % 2 == 0) {
      feed_.remove(item.key);
    } else {
      std::get<NetworkPolicy>(item.resource).ingress.pop_back();
      feed_.update(std::move(item));
    }
  }
  void relabel(unsigned number) {
    namespaces_.insert(number);
    auto item = TagPolicies::profile(number);
    std::get<Profile>(item.resource).labels_to_apply["pcns.version"] = fmt::format("{}", random_() % 100);
    feed_.update(std::move(item));
  }

  Feed& feed_;
  std::mt19937_64 random_;
  std::set<unsigned> endpoints_, policies_, namespaces_;
};

void churn(benchmark::State& state) {
  constexpr int kChanges = 1'000'000;
  Feed feed;
  feed.load(kS1);
  feed.describe();
  Churn churn(feed, kSeed);
  // A tenth first, so that pools have the size that changes under way need.
  for (int i = 0; i < kChanges / 10; ++i) churn.change();
  churn.restore();
  const auto before = resident_mb();
  for (auto _ : state) {
    for (int i = 0; i < kChanges; ++i) churn.change();
    churn.restore();
    const auto after = resident_mb();
    std::fprintf(stderr, "%.2f MB before, %.2f MB after %d changes\n", before, after, kChanges);
    figure(state, "engine-churn", (after - before) / before * 100 / (kChanges / 10'000), "%/10000");
  }
}

BENCHMARK(updates)->Iterations(1);
BENCHMARK(endpoint_change)->Iterations(1);
BENCHMARK(policy_change)->Iterations(1);
BENCHMARK(namespace_change)->Iterations(1);
BENCHMARK(wide_net)->Iterations(1);
BENCHMARK(churn)->Iterations(1);

}  // namespace
}  // namespace ocicat::bench

int main(int argc, char** argv) {
  ocicat::use_large_pages();  // as the agent does
  return ocicat::bench::run(argc, argv);
}
