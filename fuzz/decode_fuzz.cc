// JSON of every watched kind: decoding ends with a value or an error, and what comes back keeps its promises.
#include <boost/json/parse.hpp>

#include <cstdint>
#include <string_view>

#include "resources/decode.h"
#include "resources/selector/selector.h"

namespace {

using namespace ocicat;

void check_policy(const NetworkPolicy& policy) {
  for (const auto* selector :
       {&policy.selector, &policy.namespace_selector, &policy.service_account_selector}) {
    CHECK(Selector::parse(*selector).has_value());
  }
  if (!policy.broken.empty()) {
    CHECK(policy.ingress.empty() && policy.egress.empty());
    CHECK(policy.applies_to_ingress || policy.applies_to_egress);
    return;
  }
  for (const auto* rules : {&policy.ingress, &policy.egress}) {
    for (const auto& rule : *rules) {
      for (const auto* entity : {&rule.source, &rule.destination}) {
        for (const auto* selector : {&entity->selector, &entity->not_selector, &entity->namespace_selector}) {
          CHECK(Selector::parse(*selector).has_value());
        }
        for (const auto& port : entity->ports) {
          const auto* range = std::get_if<PortRange>(&port);
          CHECK(range == nullptr || range->first <= range->last);
        }
      }
    }
  }
}

void check_endpoint(const WorkloadEndpoint& endpoint) {
  for (const auto& [name, value] : endpoint.metadata.labels) {
    CHECK(!name.starts_with("pcns.") && !name.starts_with("pcsa."));
  }
  CHECK(endpoint.metadata.labels.at("projectcalico.org/namespace") == endpoint.metadata.ns);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  boost::system::error_code error;
  const auto parsed = boost::json::parse({reinterpret_cast<const char*>(data), size}, error);
  const auto* document = error ? nullptr : parsed.if_object();
  if (document == nullptr) return 0;
  if (const auto key = key_of(*document); key) CHECK(!key->name.empty() && !key->to_string().empty());
  for (const auto kind : watched_kinds()) {
    const auto resource = decode(kind, *document);
    if (!resource) {
      CHECK(!resource.error().message.empty());
      continue;
    }
    CHECK(decode(kind, *document) == resource);
    if (const auto* policy = std::get_if<NetworkPolicy>(&*resource)) check_policy(*policy);
    if (const auto* endpoint = std::get_if<WorkloadEndpoint>(&*resource)) check_endpoint(*endpoint);
  }
  return 0;
}
