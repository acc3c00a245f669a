// Lines of a watch as a server sends them, to typed resources: what the agent does with each before the
// engine sees it.
#include <string>
#include <vector>

#include "api/client/wire.h"
#include "base/large_pages.h"
#include "bench/figures.h"
#include "resources/decode.h"
#include "test/support/shapes/baseline_policy.h"
#include "test/support/shapes/isolated_customers.h"
#include "test/support/shapes/netset_policies.h"

namespace ocicat::bench {
namespace {

std::string list_of(const std::vector<std::string>& items) {
  return fmt::format("[{}]", fmt::join(items, ","));
}

std::string quoted(std::string_view text) {
  return fmt::format("\"{}\"", text);  // nothing in a shape needs an escape
}

std::string labels_of(const Labels& labels) {
  std::vector<std::string> items;
  for (const auto& [name, value] : labels) items.push_back(fmt::format("\"{}\":\"{}\"", name, value));
  return fmt::format("{{{}}}", fmt::join(items, ","));
}

std::string metadata_of(const Metadata& metadata) {
  std::string ns = metadata.ns.empty() ? "" : fmt::format(R"("namespace":"{}",)", metadata.ns);
  return fmt::format(
      R"("metadata":{{"creationTimestamp":"2026-02-03T04:05:06Z","generation":1,"labels":{},"name":"{}",{})"
      R"("resourceVersion":"12345678","uid":"3f1c5d1e-8a55-4c5e-9d0a-6f0e5b7c9d21"}})",
      labels_of(metadata.labels), metadata.name, ns);
}

std::string side_of(const EntityRule& side) {
  std::vector<std::string> items;
  if (!side.selector.empty()) items.push_back(fmt::format(R"("selector":"{}")", side.selector));
  if (!side.nets.empty()) items.push_back(fmt::format(R"("nets":["{}"])", side.nets.front().to_string()));
  if (!side.ports.empty())
    items.push_back(fmt::format(R"("ports":[{}])", std::get<PortRange>(side.ports.front()).first));
  return fmt::format("{{{}}}", fmt::join(items, ","));
}

std::string rules_of(const std::vector<Rule>& rules) {
  std::vector<std::string> items;
  for (const auto& rule : rules) {
    const auto* action = rule.action == Action::kAllow  ? "Allow"
                         : rule.action == Action::kDeny ? "Deny"
                                                        : "Pass";
    items.push_back(fmt::format(
        R"({{"action":"{}","destination":{},{}"source":{}}})", action, side_of(rule.destination),
        rule.protocol ? fmt::format(R"("protocol":"{}",)", protocol_name(rule.protocol->number)) : "",
        side_of(rule.source)));
  }
  return list_of(items);
}

std::string spec_of(const WorkloadEndpoint& endpoint) {
  return fmt::format(
      R"({{"endpoint":"eth0","interfaceName":"{}","ipNetworks":["{}/32"],"node":"{}","orchestrator":"k8s",)"
      R"("pod":"{}","profiles":["{}"]}})",
      endpoint.interface_name, endpoint.addresses.front().to_string(), endpoint.node, endpoint.workload,
      endpoint.profiles.front());
}
std::string spec_of(const NetworkPolicy& policy) {
  return fmt::format(
      R"({{"egress":{},"ingress":{},"selector":"{}","tier":"{}","types":["Ingress","Egress"]}})",
      rules_of(policy.egress), rules_of(policy.ingress), policy.selector, policy.tier);
}
std::string spec_of(const NetworkSet& set) {
  std::vector<std::string> nets;
  for (const auto& net : set.nets) nets.push_back(quoted(net.to_string()));
  return fmt::format(R"({{"nets":{}}})", list_of(nets));
}
std::string spec_of(const Profile& profile) {
  return fmt::format(R"({{"labelsToApply":{}}})", labels_of(profile.labels_to_apply));
}
template <class T>
std::string spec_of(const T&) {
  return "{}";
}

std::string line_of(const test::Item& item) {
  return std::visit(
      [&](const auto& value) {
        const auto& kind = info(item.key.kind);
        return fmt::format(R"({{"type":"ADDED","object":{{"apiVersion":"{}","kind":"{}",{},"spec":{}}}}})",
                           kind.api_version(), kind.name, metadata_of(value.metadata), spec_of(value));
      },
      item.resource);
}

struct Stream {
  const char* what;
  std::vector<std::string> lines;
  std::size_t bytes = 0;

  void add(const test::Item& item) {
    lines.push_back(line_of(item));
    bytes += lines.back().size();
  }
};

std::vector<Stream> streams() {
  std::vector<Stream> all{{"endpoints (S1)", {}},
                          {"policies (S1)", {}},
                          {"network sets (S2)", {}},
                          {"tenants (S3)", {}},
                          {"policies (S5)", {}}};
  const test::TagPolicies tags;
  for (unsigned i = 0; i < 20'000; ++i) all[0].add(tags.endpoint(i));
  for (unsigned i = 0; i < 5'000; ++i) all[1].add(tags.policy(i));
  for (unsigned i = 0; i < 2'000; ++i) all[2].add(test::NetsetPolicies::set(i));
  const test::IsolatedCustomers customers;
  for (unsigned i = 0; i < 5'000; ++i) {
    all[3].add(customers.profile(i));
    all[3].add(customers.policy(i));
    all[3].add(customers.pod(i));
  }
  const test::BaselinePolicy baseline;
  for (unsigned i = 0; i < baseline.policies; ++i) all[4].add(baseline.policy(i));
  return all;
}

void decode_watch(benchmark::State& state) {
  const auto all = streams();
  for (auto _ : state) {
    std::vector<std::vector<double>> rates(all.size());
    for (int round = 0; round < 9; ++round) {
      for (std::size_t i = 0; i < all.size(); ++i) {
        double seconds = 0;
        timed(seconds, [&] {
          for (const auto& line : all[i].lines) {
            const auto event = api::parse_event(line);
            CHECK(event.has_value());
            const auto key = key_of(event->object);
            CHECK(key.has_value());
            auto resource = decode(key->kind, event->object);
            CHECK(resource.has_value());
            benchmark::DoNotOptimize(resource);
          }
          return 0;
        });
        rates[i].push_back(static_cast<double>(all[i].bytes) / 1e6 / seconds);
      }
    }
    double slowness = 0;  // of a stream with as many bytes of each
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto rate = percentile(rates[i], 0.5);
      std::fprintf(stderr, "%s: %.1f MB, %.0f MB/s\n", all[i].what, static_cast<double>(all[i].bytes) / 1e6,
                   rate);
      slowness += 1 / rate;
    }
    figure(state, "engine-decode", static_cast<double>(all.size()) / slowness, "MB/s");
  }
}

BENCHMARK(decode_watch)->Iterations(1);

}  // namespace
}  // namespace ocicat::bench

int main(int argc, char** argv) {
  ocicat::use_large_pages();  // as the agent does
  return ocicat::bench::run(argc, argv);
}
