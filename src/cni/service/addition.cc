#include "cni/service/addition.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <future>

#include "base/digest.h"
#include "cni/configuration.h"
#include "cni/delegation.h"
#include "cni/endpoint.h"
#include "cni/service/addresses.h"
#include "cni/service/gates.h"
#include "cni/service/teardown.h"
#include "cni/service/wiring.h"
#include "cni/wishes.h"
#include "network/floating_addresses.h"
#include "resources/fields.h"

namespace ocicat::cni {
namespace {

namespace json = boost::json;
using Clock = std::chrono::steady_clock;

constexpr int kTries = 20;  // while others change the document

// The same for the same attachment, and nobody else's: it is the only one on its link besides the host.
MacAddress own_mac(const Attachment& attachment) {
  const auto digest = Digest::of(attachment.name());
  MacAddress mac;
  std::ranges::copy_n(digest.bytes.begin(), mac.bytes.size(), mac.bytes.begin());
  mac.bytes[0] =
      static_cast<std::uint8_t>((mac.bytes[0] & 0xfc) | 0x02);  // administered locally, one interface
  return mac;
}

Failure no_wire(const kernel::WorkloadPair& pair, const Error& error) {
  if (error.code == ErrorCode::kNotFound) {
    return {FailureCode::kUnknownContainer, "the container's network namespace is not there",
            error.message + "; has the container ended? See: ip netns"};
  }
  if (error.code == ErrorCode::kAlreadyExists) {
    return {FailureCode::kKernel, "the container has an interface of that name by somebody else",
            fmt::format(
                "{0}; name another than {1} (CNI_IFNAME), or take that one away; see there: ip link show {1}",
                error.message, pair.name)};
  }
  return {FailureCode::kKernel, "the kernel refuses to wire the container",
          error.message + "; see the kernel's log: dmesg"};
}

// Addresses and the pair of interfaces, both at once: the one waits for the disk, the other for the kernel.
Outcome<void> assign_and_wire(Context& context, Attachment& attachment, const Wishes& wishes,
                              const kernel::WorkloadPair& pair) {
  // Its own: the answer may come to nobody.
  const auto promise = std::make_shared<std::promise<Result<ipam::Assigned>>>();
  if (wishes.without_ipam) {
    attachment.addresses = wishes.addresses;
    promise->set_value(ipam::Assigned{});
  } else {
    context.parts.allocator->submit(
        request_of(context, attachment, wishes),
        [promise](Result<ipam::Assigned> answer) { promise->set_value(std::move(answer)); });
  }
  const auto made = context.parts.links->create(pair);
  const auto assigned = promise->get_future().get();  // always: what is on its way is to be taken back
  if (!assigned) return std::unexpected(no_address(context, assigned.error()));
  for (const auto& item : assigned->items) attachment.addresses.push_back(item.address);
  if (!made) return std::unexpected(no_wire(pair, made.error()));
  const auto tables = context.parts.links->address(pair, attachment.addresses);
  if (!tables) return std::unexpected(no_wire(pair, tables.error()));
  attachment.default_tables = *tables;
  return {};
}

Result<std::uint64_t> revision_in(const json::object& document) {
  const auto text = revision_of(document);
  std::uint64_t revision = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), revision).ec == std::errc()) return revision;
  return fail(ErrorCode::kUnavailable, "the server's answer has no revision");
}

// Replaces the endpoint of a container before it.
Result<std::uint64_t> publish_endpoint(ipam::Documents& documents, const json::object& document,
                                       const ResourceKey& key) {
  for (int attempt = 1;; ++attempt) {
    auto written = documents.create(document);
    if (!written && written.error().code == ErrorCode::kAlreadyExists) {
      TRY(const auto present, if_there(documents.get(key)));
      if (present) {
        auto next = document;
        next["metadata"].as_object()["resourceVersion"] = revision_of(*present);
        written = documents.update(std::move(next));
      }
    }
    if (written) return revision_in(*written);
    const auto code = written.error().code;
    const bool again =
        code == ErrorCode::kConflict || code == ErrorCode::kAlreadyExists || code == ErrorCode::kNotFound;
    if (!again || attempt == kTries) return std::unexpected(written.error());
  }
}

Result<std::uint64_t> publish_pod(ipam::Documents& documents, json::object pod, const Attachment& attachment,
                                  const Wishes& wishes) {
  for (int attempt = 1;; ++attempt) {
    const auto written = documents.update(with_addresses(pod, attachment, wishes));
    if (written) return revision_in(*written);
    if (written.error().code != ErrorCode::kConflict || attempt == kTries)
      return std::unexpected(written.error());
    TRY(pod, documents.get(attachment.endpoint));
  }
}

// Until the endpoint is in force, as of this revision; or as long as the network is configured to wait.
Outcome<void> await_policy(Context& context, Enforcement::Watch& watch, const Attachment& attachment,
                           const Configuration& configuration, std::uint64_t revision,
                           Clock::time_point begin) {
  const auto until =
      begin + configuration.policy_timeout.value_or(std::chrono::seconds(0)) +
      (configuration.policy_timeout ? std::chrono::milliseconds(0) : context.options.policy_patience);
  if (watch.wait(revision, attachment.addresses, until)) {
    if (!context.parts.enforcement->judges()) {
      spdlog::warn("{} starts without policy: the agent of this host keeps routes alone",
                   attachment.endpoint.to_string());
    }
    return {};
  }
  if (configuration.policy_timeout) {
    spdlog::warn("{} starts without its policy in force, as its network is configured",
                 attachment.endpoint.to_string());
    return {};
  }
  const auto why = watch.why_not();
  return refuse(FailureCode::kNotEnforced, "the workload's policy is not in force in time",
                fmt::format("{} is at the server, and the dataplane of this host has not brought it to the "
                            "kernel{}{}; see: ocicat status",
                            attachment.endpoint.to_string(), why.empty() ? "" : ": ", why));
}

Outcome<void> publish_and_wait(Context& context, ipam::Documents& documents, const Attachment& attachment,
                               const Configuration& configuration, const Wishes& wishes, const Known& known) {
  const auto begin = Clock::now();
  const auto watch = context.parts.enforcement->watch(attachment.endpoint);
  const auto revision =
      attachment.endpoint.kind == Kind::kPod
          ? publish_pod(documents, *known.pod, attachment, wishes)
          : publish_endpoint(documents,
                             endpoint_document(attachment, context.options.node, configuration, wishes),
                             attachment.endpoint);
  if (!revision)
    return std::unexpected(failure_of(revision.error(), "the server does not take the workload's endpoint"));
  return await_policy(context, *watch, attachment, configuration, *revision, begin);
}

// What the agent does not assign it has to be told is nobody else's: it is one of a host's containers at a time, and of
// one that is still to be taken back others may hear yet.
Outcome<void> check_given(const Context& context, const Attachment& attachment,
                          const std::vector<IpAddress>& addresses) {
  for (const auto& address : addresses) {
    if (!network::may_float(address)) {
      return refuse(
          FailureCode::kAddressPlugin, fmt::format("{} gives what cannot be used", attachment.address_plugin),
          fmt::format("{} is no address that packets are led to; what it is told stands under ipam in {}",
                      address.to_string(), kNetworkFile));
    }
    const auto holder = context.journal->holder_of(address, attachment.name());
    if (!holder) continue;
    const bool goes = holder->phase == Attachment::Phase::kDeleting;
    return refuse(
        goes ? FailureCode::kTryAgainLater : FailureCode::kAddressTaken,
        fmt::format("{} gives an address that another container has", attachment.address_plugin),
        fmt::format("{} is {} in container {}'s{}; see: ocicat get wep -A", address.to_string(),
                    holder->ifname, holder->container_id, goes ? ", which is being taken back" : ""));
  }
  return {};
}

Outcome<void> as_outcome(const Result<void>& noted) {
  if (noted) return {};
  return refuse(FailureCode::kIo, "the attachment cannot be noted", noted.error().message + "; see: df");
}

// Before anything is made. From here on there is something to take back.
Outcome<void> note_first(Context& context, Attachment& attachment, const Wishes& wishes) {
  if (!wishes.by_plugin) return as_outcome(context.journal->write_first(attachment));
  // Who is given the same at the same time finds it noted.
  const Turns::Turn turn(context.turns, "addresses by other plugins");
  TRY_VOID(check_given(context, attachment, wishes.addresses));
  attachment.addresses = wishes.addresses;
  return as_outcome(context.journal->write_first(attachment));
}

Outcome<PodNets> pod_nets(ipam::Documents& documents, const std::string& node) {
  const ResourceKey key{Kind::kNode, "", node};
  const auto document = documents.get(key);
  if (!document && document.error().code != ErrorCode::kNotFound)
    return std::unexpected(failure_of(document.error(), "the server does not answer"));
  PodNets nets;
  if (!document) return nets;
  const auto* status = document->if_contains("status");
  const auto words = status != nullptr && status->is_object()
                         ? fields::strings_at(status->get_object(), "podCIDRs")
                         : Result<std::vector<std::string>>();
  for (const auto& word : words.value_or(std::vector<std::string>())) {
    const auto net = Prefix::parse(word);
    auto& first = nets[net && net->family() == Family::kIpv6 ? 1 : 0];
    if (net && first.empty()) first = net->to_string();
  }
  return nets;
}

// What the plugin that gives the addresses is to be told.
Outcome<json::object> delegated(Context& context, ipam::Documents& documents, const Call& call) {
  if (!call.delegates) {
    return refuse(FailureCode::kUnsupportedField, "the plugin runs no other plugin",
                  "it is older than the agent; install both from one version; see: ocicat --version");
  }
  if (!asks_for_pod_nets(call.config)) return call.config;
  TRY(const auto nets, pod_nets(documents, context.options.node));
  auto config = with_pod_nets(call.config, nets);
  if (config) return *std::move(config);
  return refuse(FailureCode::kInvalidConfiguration, "the network configuration asks for what is not there",
                fmt::format("{} (status.podCIDRs); see: ocicat get node {} -o yaml", config.error().message,
                            context.options.node));
}

// Nothing: it is made. Else what another plugin is to be told first.
Outcome<std::optional<json::object>> make(Context& context, ipam::Documents& documents, const Call& call,
                                          const std::string& namespace_path,
                                          const Configuration& configuration, Attachment& attachment) {
  const auto known = ask(documents, attachment, configuration);
  if (!known) return std::unexpected(failure_of(known.error(), "the server does not answer"));
  TRY(const auto wishes, settle(configuration, known->pod_annotations, known->namespace_annotations));
  if (known->pod && attachment.ifname == kFirstInterface) {
    TRY_VOID(check_pod(*known->pod, context.options.node));
    attachment.endpoint = {Kind::kPod, attachment.ns, attachment.pod};
  }
  if (wishes.by_plugin && wishes.addresses.empty()) return delegated(context, documents, call);
  attachment.mac = wishes.mac.value_or(own_mac(attachment));
  attachment.dns = configuration.dns;
  attachment.follows_mtu = !configuration.mtu;
  attachment.mtu = configuration.mtu.value_or(context.parts.enforcement->mtu());
  if (attachment.mtu == 0) {
    return refuse(FailureCode::kTryAgainLater, "the agent cannot serve workloads yet",
                  "how large packets may be is not known; see: ocicat status");
  }
  if (wishes.by_plugin) attachment.destinations = configuration.given->destinations;
  TRY_VOID(note_first(context, attachment, wishes));
  auto pair = pair_of(attachment, namespace_path);
  pair.queues = configuration.queues;
  pair.ip_forwarding = configuration.ip_forwarding;
  pair.ipv6 = wishes.has(Family::kIpv6);
  TRY_VOID(assign_and_wire(context, attachment, wishes, pair));
  TRY_VOID(publish_and_wait(context, documents, attachment, configuration, wishes, *known));
  attachment.phase = Attachment::Phase::kAdded;
  TRY_VOID(as_outcome(context.journal->write(attachment, false)));
  return std::nullopt;
}

// Whether all of it is there still, and in force. What somebody has taken away is to be made anew.
Outcome<bool> is_whole(Context& context, ipam::Documents& documents, const Attachment& attachment,
                       const Configuration& configuration, const std::string& namespace_path) {
  // A later plugin of the chain may have given it another MAC.
  if (attachment.phase != Attachment::Phase::kAdded ||
      !check_wiring(context, attachment, namespace_path, std::nullopt))
    return false;
  const auto watch = context.parts.enforcement->watch(attachment.endpoint);
  const auto document = if_there(documents.get(attachment.endpoint));
  if (!document) return std::unexpected(failure_of(document.error(), "the server does not answer"));
  if (!*document || container_of(**document) != documented_container(attachment.container_id)) return false;
  context.parts.enforcement->look();
  TRY_VOID(await_policy(context, *watch, attachment, configuration, 0, Clock::now()));
  return true;
}

}  // namespace

Outcome<std::variant<Attachment, Delegation>> add(Context& context, const Call& call,
                                                  const std::string& namespace_path) {
  TRY(const auto configuration, read_configuration(call));
  if (!configuration.node.empty() && configuration.node != context.options.node) {
    return refuse(FailureCode::kInvalidConfiguration, "the network is configured for another node",
                  fmt::format("nodename is \"{}\", and this is the agent of {}; correct {}",
                              configuration.node, context.options.node, kNetworkFile));
  }
  TRY_VOID(check_ready(context));
  TRY_VOID(check_unlocked(context));
  TRY_VOID(gates_are_open(configuration.readiness_gates));
  auto attachment = attachment_of(call, context.options.node);
  attachment.boot = context.options.boot;
  const Turns::Turn turn(context.turns, attachment.name());
  const Turns::Turn interface_turn(context.turns, attachment.host_interface);
  const auto documents = context.documents.lend();
  bool again = false;
  if (auto present = context.journal->find(attachment.name())) {
    if (is_anothers(context, *present, call.network)) return std::unexpected(has_another_network(*present));
    TRY(const bool whole, is_whole(context, *documents, *present, configuration, namespace_path));
    if (whole) {
      present->netns = call.netns;
      return *present;
    }
    if (const auto done = take_back(context.parts, *context.journal, *documents, *present, namespace_path);
        !done)
      return std::unexpected(failure_of(done.error(), "what an earlier ADD left cannot be taken back"));
    again = true;
  }
  auto done = make(context, *documents, call, namespace_path, configuration, attachment);
  if (done && *done) return Delegation{**std::move(done), again};
  if (done) return attachment;
  if (context.journal->find(attachment.name())) {
    const auto undone = take_back(context.parts, *context.journal, *documents, attachment, namespace_path);
    if (!undone) done.error().details += "; what was made is taken back later: " + undone.error().message;
  }
  return std::unexpected(done.error());
}

}  // namespace ocicat::cni
