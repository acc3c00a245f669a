// A whole cluster from decoded resources to complete decision tables: shapes S1, S2, S3, of any size.
//
//   s1/ENDPOINTS, s3/CUSTOMERS   CPU seconds, growth of the peak resident set; and the CPU seconds of a pass
//                                that only parses and interns the same input, in a process of its own
//   s2                           1,000 and 10,000 network sets
//
// engine_scaling.py runs these at several sizes.
#include <boost/unordered/unordered_flat_map.hpp>

#include <map>
#include <string>

#include "base/large_pages.h"
#include "bench/engine_feed.h"
#include "policy/key_pool.h"
#include "policy/string_pool.h"
#include "resources/selector/selector.h"
#include "test/support/shapes/isolated_customers.h"
#include "test/support/shapes/netset_policies.h"
#include "test/support/shapes/tag_policies.h"

namespace ocicat::bench {
namespace {

test::TagPolicies tag_policies(unsigned endpoints) {
  return {.remote = endpoints, .local = 200, .policies = endpoints / 25};
}

test::IsolatedCustomers isolated_customers(unsigned customers) {
  return {.customers = customers, .local = 100};
}

template <class Shape>
void load(benchmark::State& state, const Shape& shape, const std::string& name) {
  warm_up();
  for (auto _ : state) {
    reset_peak();
    const auto before = resident_mb();
    Feed feed;
    feed.load(shape);
    figure(state, name + "-time", feed.seconds(), "s");
    figure(state, name + "-memory", peak_mb() - before, "MB");
    feed.describe();
  }
}

// Keeps each text, key, list of labels and address of its input once; parses selectors.
class Interning {
 public:
  void add(const ResourceKey& key, const Resource& resource) {
    keys_.acquire(key);
    std::visit([this](const auto& value) { keep(value); }, resource);
  }

 private:
  template <class T>
  void keep(const T&) {}
  void keep(const Profile& profile) { keep_labels(profile.labels_to_apply); }
  void keep(const NetworkPolicy& policy) {
    parse(policy.selector);
    for (const auto* rules : {&policy.ingress, &policy.egress}) {
      for (const auto& rule : *rules) {
        parse(rule.source.selector);
        parse(rule.destination.selector);
      }
    }
  }
  void keep(const WorkloadEndpoint& endpoint) {
    keep_labels(endpoint.metadata.labels);
    strings_.acquire(endpoint.node);
    for (const auto& name : endpoint.profiles) strings_.acquire(name);
    for (const auto& address : endpoint.addresses) addresses_.emplace(address, addresses_.size());
  }
  void parse(const std::string& text) {
    if (text.empty()) return;
    const auto selector = Selector::parse(text);
    CHECK(selector.has_value());
    strings_.acquire(selector->canonical());
  }
  void keep_labels(const Labels& labels) {
    words_.clear();
    for (const auto& [name, value] : labels) {
      words_.push_back(strings_.acquire(name));
      words_.push_back(strings_.acquire(value));
    }
    lists_.acquire(words_);
  }

  policy::KeyPool keys_;
  policy::StringPool strings_;
  policy::SequencePool lists_;
  boost::unordered_flat_map<IpAddress, std::size_t> addresses_;
  std::vector<std::uint32_t> words_;
};

template <class Shape>
void intern(benchmark::State& state, const Shape& shape, const std::string& name) {
  for (auto _ : state) {
    Interning interning;
    std::vector<test::Item> batch;
    double seconds = 0;
    const auto flush = [&] {
      timed(seconds, [&] {
        for (const auto& [key, resource] : batch) interning.add(key, resource);
        return 0;
      });
      batch.clear();
    };
    shape.each([&](test::Item item) {
      batch.push_back(std::move(item));
      if (batch.size() == Feed::kBatch) flush();
    });
    flush();
    figure(state, name + "-time", seconds, "s");
  }
}

void s1(benchmark::State& state) {
  load(state, tag_policies(static_cast<unsigned>(state.range(0))), "engine-s1");
}
void s1_interned(benchmark::State& state) {
  intern(state, tag_policies(static_cast<unsigned>(state.range(0))), "interned-s1");
}
void s3(benchmark::State& state) {
  load(state, isolated_customers(static_cast<unsigned>(state.range(0))), "engine-s3");
}
void s3_interned(benchmark::State& state) {
  intern(state, isolated_customers(static_cast<unsigned>(state.range(0))), "interned-s3");
}

void s2(benchmark::State& state) {
  warm_up();
  for (auto _ : state) {
    std::map<unsigned, double> seconds;
    // In turn, so that both see the same machine; the least of each counts.
    for (int round = 0; round < 3; ++round) {
      for (const unsigned sets : {1'000U, 10'000U}) {
        Feed feed;
        feed.load(test::NetsetPolicies{.sets = sets});
        const auto [it, is_new] = seconds.emplace(sets, feed.seconds());
        it->second = std::min(it->second, feed.seconds());
        if (round == 0) feed.describe();
      }
    }
    figure(state, "engine-s2-time", seconds[1'000], "s");
    figure(state, "engine-s2-ratio", seconds[10'000] / seconds[1'000], "times");
  }
}

// 10,000 to 1,000,000 in steps of the square root of ten; and the sizes that figures name.
void sizes(benchmark::internal::Benchmark* benchmark) {
  for (const auto size : {10'000, 31'623, 100'000, 250'000, 316'228, 1'000'000}) benchmark->Arg(size);
  benchmark->Iterations(1);
}

BENCHMARK(s1)->Apply(sizes);
BENCHMARK(s1_interned)->Apply(sizes);
BENCHMARK(s2)->Iterations(1);
BENCHMARK(s3)->Apply(sizes);
BENCHMARK(s3_interned)->Apply(sizes);

}  // namespace
}  // namespace ocicat::bench

int main(int argc, char** argv) {
  ocicat::use_large_pages();  // as the agent does
  return ocicat::bench::run(argc, argv);
}
