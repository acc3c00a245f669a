#include "test/support/conformance_cases.h"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "resources/decode.h"
#include "test/support/world.h"

namespace ocicat::test {

namespace {

namespace json = boost::json;

struct Service {
  std::string_view protocol;
  Protocol number;
  std::uint16_t port;
};
constexpr std::array kServices{
    Service{"TCP", kTcp, 80}, Service{"TCP", kTcp, 81},   Service{"UDP", kUdp, 80},
    Service{"UDP", kUdp, 81}, Service{"SCTP", kSctp, 80}, Service{"SCTP", kSctp, 81},
};

std::string text(const json::value& value) {
  return std::string{value.as_string()};
}

// One container port for each service, named as the cases name it: "serve-80-tcp".
json::array container_ports() {
  json::array ports;
  for (const auto& service : kServices) {
    auto name = fmt::format("serve-{}-{}", service.port, service.protocol);
    std::ranges::transform(name, name.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    ports.push_back(
        {{"name", name}, {"containerPort", std::int64_t{service.port}}, {"protocol", service.protocol}});
  }
  return ports;
}

json::object pod_document(const ResourceKey& key, const json::object& pod) {
  return {
      {"apiVersion", "v1"},
      {"kind", "Pod"},
      {"metadata", {{"name", key.name}, {"namespace", key.ns}, {"labels", pod.at("labels")}}},
      {"spec", {{"nodeName", "host1"}, {"containers", {{{"name", "serve"}, {"ports", container_ports()}}}}}},
      {"status", {{"phase", "Running"}, {"podIP", pod.at("ip")}}}};
}

json::object namespace_document(std::string_view name, const json::value& labels) {
  return {{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", name}, {"labels", labels}}}};
}

Result<void> add(policy::Snapshot& snapshot, Kind kind, const json::object& document) {
  TRY(auto key, key_of(document));
  auto resource = decode(kind, document);
  if (!resource) return within(key.to_string(), std::move(resource).error());
  if (const auto* policy = std::get_if<NetworkPolicy>(&*resource); policy && !policy->broken.empty()) {
    return fail(ErrorCode::kInvalid, "{}: {}", key.to_string(), policy->broken);
  }
  snapshot.insert_or_assign(std::move(key), *std::move(resource));
  return {};
}

void add_probes(const json::object& step, ConformanceStep& result) {
  const auto& pods = step.at("pods").as_object();
  const auto address_of = [&](std::string_view pod) { return address(text(pods.at(pod).at("ip"))); };
  for (const auto& service : kServices) {
    const auto& matrix =
        step.at("expect").at(fmt::format("{}/{}", service.protocol, service.port)).as_object();
    for (const auto& [from, row] : matrix) {
      for (const auto& [to, verdict] : row.as_object()) {
        if (from == to) continue;
        result.probes.push_back({.from = pod_key(from),
                                 .to = pod_key(to),
                                 .packet = {.source = address_of(from),
                                            .destination = address_of(to),
                                            .protocol = service.number,
                                            .source_port = 40'000,
                                            .destination_port = service.port},
                                 .allowed = text(verdict) == "."});
      }
    }
  }
}

Result<ConformanceStep> read_step(const json::object& step) {
  ConformanceStep result;
  for (const auto& [name, labels] : step.at("namespaces").as_object()) {
    TRY_VOID(add(result.snapshot, Kind::kNamespace, namespace_document(name, labels)));
  }
  for (const auto& [name, pod] : step.at("pods").as_object()) {
    TRY_VOID(add(result.snapshot, Kind::kPod, pod_document(pod_key(name), pod.as_object())));
  }
  for (const auto& policy : step.at("policies").as_array()) {
    TRY_VOID(add(result.snapshot, Kind::kKubernetesNetworkPolicy, policy.as_object()));
  }
  add_probes(step, result);
  return result;
}

Result<ConformanceCase> read_case(const json::object& written) {
  ConformanceCase result{
      .id = written.at("id").as_int64(), .description = text(written.at("description")), .steps = {}};
  for (const auto& step : written.at("steps").as_array()) {
    auto read = read_step(step.as_object());
    if (!read) return within(fmt::format("case {}", result.id), std::move(read).error());
    result.steps.push_back(*std::move(read));
  }
  return result;
}

}  // namespace

std::string ConformanceProbe::to_string() const {
  return fmt::format("{}/{} -> {}/{} {}/{}: {}", from.ns, from.name, to.ns, to.name,
                     protocol_name(packet.protocol), packet.destination_port, allowed ? "allowed" : "denied");
}

Result<std::vector<ConformanceCase>> read_conformance_cases(const std::string& path) {
  std::ifstream file{path};
  if (!file) return fail(ErrorCode::kNotFound, "{}: cannot be read", path);
  std::stringstream content;
  content << file.rdbuf();
  std::vector<ConformanceCase> cases;
  try {
    const auto document = json::parse(content.str());
    for (const auto& written : document.as_array()) {
      TRY(auto read, read_case(written.as_object()));
      cases.push_back(std::move(read));
    }
  } catch (const std::exception& error) {  // Boost.JSON's, where the file has another form
    return fail(ErrorCode::kInvalid, "{}: {}", path, error.what());
  }
  return cases;
}

}  // namespace ocicat::test
