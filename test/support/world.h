// Builds a snapshot for a test in a few words, from values rather than documents.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "policy/evaluator.h"

namespace ocicat::test {

// Every function puts one resource under the key that it has in the API, and replaces what was there.
struct World {
  policy::Snapshot snapshot;

  // As a Namespace arrives: profile kns.NAME, which allows all and hands its labels down.
  World& with_namespace(const std::string& name, const Labels& labels = {});
  World& with_service_account(const std::string& ns, const std::string& name, const Labels& labels = {});
  // "shop/api". As a Pod arrives: labelled with its namespace, profiles kns. and, with an account, ksa.
  World& with_pod(std::string_view ns_and_name, const std::vector<std::string>& addresses,
                  const Labels& labels = {}, const std::vector<EndpointPort>& ports = {},
                  const std::string& service_account = "");
  // On node host1.
  World& with_host(const std::string& name, const std::string& interface_name,
                   const std::vector<std::string>& expected_addresses = {}, const Labels& labels = {},
                   const std::vector<std::string>& profiles = {},
                   const std::vector<EndpointPort>& ports = {});
  World& with_tier(const std::string& name, std::optional<double> order, Action default_action);
  World& with_policy(NetworkPolicy policy);
  World& with_profile(Profile profile);
  // NAME-1, behind the service.
  World& with_slice(const std::string& ns, const std::string& service,
                    const std::vector<std::string>& addresses, const std::vector<EndpointSlice::Port>& ports);
  // In namespace `ns`, or global where it is empty.
  World& with_network_set(const std::string& ns, const std::string& name,
                          const std::vector<std::string>& nets, const Labels& labels = {});
};

ResourceKey pod_key(std::string_view ns_and_name);
ResourceKey host_key(const std::string& name);

// A global policy with these ingress rules, for everyone.
NetworkPolicy global_ingress(const std::string& name, std::vector<Rule> rules);
NetworkPolicy global_egress(const std::string& name, std::vector<Rule> rules);
// The same in a namespace.
NetworkPolicy ingress_in(const std::string& ns, const std::string& name, std::vector<Rule> rules);

IpAddress address(std::string_view text);
Prefix prefix(std::string_view text);
policy::Packet packet(Protocol protocol, std::string_view from, std::string_view to, std::uint16_t port = 0);

// Its trace, a line a step, as to_string() gives them.
std::vector<std::string> lines(const policy::Judgement& outcome);

}  // namespace ocicat::test
