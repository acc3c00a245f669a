// The pods of a lab: each a network namespace and a listener, wired by ocicat-cni.
#include <signal.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/command.h"
#include "ipam/allocator.h"
#include "ipam/api_documents.h"
#include "lab/lab.h"
#include "lab/netns.h"
#include "lab/objects.h"
#include "lab/pod_wiring.h"

namespace ocicat::lab {
namespace {

namespace json = boost::json;

// Tries again as long as somebody else's change comes in between; gives up when it never stops.
Result<void> change(api::Client& client, const ResourceKey& key,
                    const std::function<void(json::object&)>& edit) {
  constexpr int kTries = 20;
  for (int attempt = 1;; ++attempt) {
    TRY(auto object, client.get(key));
    edit(object);
    const auto updated = client.update(object);
    if (updated) return {};
    if (updated.error().code != ErrorCode::kConflict || attempt == kTries)
      return std::unexpected(updated.error());
  }
}

json::object& child(json::object& object, std::string_view field) {
  auto& value = object[field];
  if (!value.is_object()) value.emplace_object();
  return value.get_object();
}

std::string listener_of(const PodRecord& pod) {
  return fmt::format("listen-{}.{}", pod.ns, pod.name);
}

}  // namespace

Result<PodRecord> Lab::add_pod(PodRequest request) {
  TRY(const auto lab, read_lab(layout_));
  TRY_VOID(lab.check_host(request.pod.host));
  TRY(request.pod, record_pod(std::move(request.pod)));
  if (auto done = realize_pod(request, lab); !done) {
    // As if it had never been asked for; what cannot be undone now, `lab down` removes.
    if (const auto undone = dismantle_pod(request.pod); !undone)
      return within(done.error().message, undone.error());
    return std::unexpected(done.error());
  }
  if (request.wait) TRY_VOID(wait_until_applied());
  return request.pod;
}

// The record comes first and under the lock: from here on the name is taken.
Result<PodRecord> Lab::record_pod(PodRecord pod) {
  TRY(const auto held, lock(layout_));
  const auto others = read_pods(layout_);
  for (const auto& other : others) {
    if (other.ns == pod.ns && other.name == pod.name) {
      return fail(ErrorCode::kAlreadyExists, "pod {} is there already, on {}", pod.full_name(), other.host);
    }
    for (const auto& address : pod.addresses) {
      if (std::ranges::find(other.addresses, address) == other.addresses.end()) continue;
      return fail(ErrorCode::kAlreadyExists, "address {} belongs to pod {}", address.to_string(),
                  other.full_name());
    }
  }
  pod.container = new_container_name();
  TRY_VOID(write_pod(layout_, pod));
  return pod;
}

Result<void> Lab::realize_pod(PodRequest& request, const LabRecord& lab) {
  auto& pod = request.pod;
  const auto network_namespace = layout_.pod_namespace(pod.ns, pod.name);
  TRY_VOID(create_namespace(network_namespace));
  TRY([[maybe_unused]] const auto printed, run({"ip", "-n", network_namespace, "link", "set", "lo", "up"}));
  api::Client client(server_address());
  TRY_VOID(create_if_missing(client, namespace_object(pod.ns, {})));
  if (!pod.service_account.empty()) {
    TRY_VOID(create_if_missing(client, service_account_object(pod.ns, pod.service_account)));
  }
  for (const auto& address : pod.addresses) {
    if (!is_pod_address(address)) TRY_VOID(create_if_missing(client, pool_around(address, lab)));
  }
  TRY_VOID(wire_pod(pod, request.labels, lab));
  return start_listener(pod, lab.program);
}

Result<void> Lab::wire_pod(PodRecord& pod, const Labels& labels, const LabRecord& lab) {
  TRY(pod.addresses, attach(layout_, lab, pod, labels));
  return write_pod(layout_, pod);
}

Result<void> Lab::create_if_missing(api::Client& client, const json::object& object) {
  const auto created = client.create(object);
  if (created || created.error().code == ErrorCode::kAlreadyExists) return {};
  return std::unexpected(created.error());
}

Result<void> Lab::start_listener(const PodRecord& pod, const std::string& program) {
  const auto name = listener_of(pod);
  TRY([[maybe_unused]] const auto process,
      start({.command = {program, "lab", "listen", "--ports", ports_text(pod.listens), "--ready-fd", "3"},
             .network_namespace = layout_.pod_namespace(pod.ns, pod.name),
             .log = layout_.log_file(name),
             .record = layout_.process_file(name),
             .tells_when_ready = true}));
  return {};
}

Result<void> Lab::delete_pod(std::string_view ns, std::string_view name, bool wait) {
  TRY(const auto pod, read_pod(layout_, ns, name));
  TRY_VOID(dismantle_pod(pod));
  return wait ? wait_until_applied() : Result<void>{};
}

Result<void> Lab::dismantle_pod(const PodRecord& pod) {
  TRY(const auto lab, read_lab(layout_));
  TRY_VOID(stop(layout_.process_file(listener_of(pod)), SIGKILL, kPatience));
  const auto network_namespace = layout_.pod_namespace(pod.ns, pod.name);
  for (const auto& process : processes_in({network_namespace})) TRY_VOID(stop(process, SIGKILL, kPatience));
  // The kernel takes a namespace down some time later; the pair of interfaces shall be gone now.
  TRY_VOID(detach(layout_, lab, pod));
  TRY_VOID(delete_namespace(network_namespace));
  remove_pod(layout_, pod.ns, pod.name);
  std::error_code ignored;
  std::filesystem::remove(layout_.log_file(listener_of(pod)), ignored);
  return {};
}

Result<void> Lab::move_pod(std::string_view ns, std::string_view name, const std::string& host, bool wait) {
  TRY(const auto lab, read_lab(layout_));
  TRY_VOID(lab.check_host(host));
  TRY(const auto before, read_pod(layout_, ns, name));
  if (before.host == host)
    return fail(ErrorCode::kInvalid, "pod {} is on {} already", before.full_name(), host);
  auto after = before;
  after.host = host;

  api::Client client(server_address());
  TRY(const auto document, client.get(endpoint_key(before)));
  const auto labels = labels_of(document);
  TRY_VOID(detach(layout_, lab, before));
  if (!running_agents().contains(before.host)) TRY_VOID(take_from_dead_host(client, before));
  after.container = new_container_name();
  TRY_VOID(wire_pod(after, labels, lab));
  return wait ? wait_until_applied() : Result<void>{};
}

// As an orchestrator does that knows a host to be gone. An agent that comes back finds its part done.
Result<void> Lab::take_from_dead_host(api::Client& client, const PodRecord& pod) {
  ipam::ApiDocuments documents(server_address());
  TRY([[maybe_unused]] const auto released, ipam::Allocator(documents).release(handle_of(pod)));
  const auto removed = client.remove(endpoint_key(pod));
  if (removed || removed.error().code == ErrorCode::kNotFound) return {};
  return std::unexpected(removed.error());
}

Result<void> Lab::label_pod(std::string_view ns, std::string_view name, const Labels& set,
                            const std::vector<std::string>& remove) {
  TRY(const auto pod, read_pod(layout_, ns, name));
  api::Client client(server_address());
  TRY_VOID(change(client, endpoint_key(pod), [&](json::object& object) {
    auto& labels = child(child(object, "metadata"), "labels");
    for (const auto& [key, value] : set) labels[key] = value;
    for (const auto& key : remove) labels.erase(key);
  }));
  return wait_until_applied();
}

Result<void> Lab::label_namespace(std::string_view ns, const Labels& labels) {
  api::Client client(server_address());
  const auto wanted = namespace_object(ns, labels);
  TRY_VOID(create_if_missing(client, wanted));
  TRY_VOID(change(client, {Kind::kNamespace, "", std::string(ns)}, [&](json::object& object) {
    child(object, "metadata")["labels"] = wanted.at("metadata").at("labels");
  }));
  return wait_until_applied();
}

}  // namespace ocicat::lab
