#include "network/bgp/sessions.h"

#include <algorithm>
#include <set>
#include <utility>

#include "network/bgp/settings.h"
#include "resources/selector/selector.h"

namespace ocicat::network::bgp {
namespace {

// BIRD has no way to write these in a text; Linux takes no longer key (TCP_MD5SIG_MAXKEYLEN).
constexpr std::size_t kLongestPassword = 80;

class LabelsOf final : public LabelSource {
 public:
  explicit LabelsOf(const Labels& labels) : labels_(labels) {}
  std::optional<std::string_view> find(std::string_view name) const override {
    const auto it = labels_.find(std::string(name));
    return it == labels_.end() ? std::nullopt : std::optional<std::string_view>(it->second);
  }

 private:
  const Labels& labels_;
};

// Decoding has seen that it parses; one that does not selects nothing.
bool selects(const std::string& selector, const Labels& labels) {
  const auto parsed = Selector::parse(selector);
  return parsed && parsed->matches(LabelsOf(labels));
}

// Why no session can have the address as one of its ends; empty where it can. Of a configuration that names one a
// router refuses all, or it tries for ever.
std::string_view why_no_end(const IpAddress& address) {
  static const std::array<std::pair<Prefix, std::string_view>, 6> kReasons{{
      {*Prefix::parse("0.0.0.0/8"), "is nobody's address"},
      {*Prefix::parse("::/128"), "is nobody's address"},
      {*Prefix::parse("fe80::/10"), "is an address of one link alone"},
      {*Prefix::parse("224.0.0.0/4"), "is an address of many"},
      {*Prefix::parse("ff00::/8"), "is an address of many"},
      {*Prefix::parse("255.255.255.255/32"), "is an address of many"},
  }};
  const auto found =
      std::ranges::find_if(kReasons, [&](const auto& reason) { return reason.first.contains(address); });
  return found == kReasons.end() ? std::string_view() : found->second;
}

std::optional<IpAddress> address_of(const Node& node, Family family) {
  const auto& prefix = family == Family::kIpv4 ? node.ipv4 : node.ipv6;
  return prefix ? std::optional(prefix->address) : std::nullopt;
}

std::string name_of(Session::Kind kind, const IpAddress& peer, std::uint16_t port) {
  constexpr std::array kPrefixes{"Mesh", "Global", "Node", "Local_Workload"};
  auto address = peer.to_string();
  std::ranges::replace_if(address, [](char c) { return c == '.' || c == ':'; }, '_');
  auto name = fmt::format("{}_{}", kPrefixes.at(static_cast<std::size_t>(kind)), address);
  return port == kDefaultPort ? name : fmt::format("{}_port_{}", name, port);
}

class Builder {
 public:
  Builder(const Input& input, const Node& self, const Secrets& secrets)
      : input_(input), self_(self), secrets_(secrets), settings_(input.configurations, input.node) {}

  Sessions build() {
    for (const bool for_certain_hosts : {true, false}) {
      for (const auto& [name, peer] : input_.peers) {
        if ((!peer.node.empty() || !peer.node_selector.empty()) == for_certain_hosts) add_peer(name, peer);
      }
    }
    add_mesh();
    std::ranges::sort(out_.sessions, {}, &Session::name);
    return std::move(out_);
  }

 private:
  AsNumber as_number_of(const Node& node) const {
    const auto* common = settings_.common();
    return node.as_number.value_or(common ? common->as_number.value_or(kDefaultAsNumber) : kDefaultAsNumber);
  }
  std::uint16_t port_of(const std::string& node) const {
    return Settings(input_.configurations, node).get(&BgpConfiguration::listen_port, kDefaultPort);
  }

  void leave_out(std::string object, std::string reason) {
    out_.left_out.push_back({std::move(object), std::move(reason)});
  }

  // Whether the neighbour is new; of two sessions with one neighbour a router would keep none up.
  void add(Session session, const std::string& object) {
    for (const auto& end : {std::optional(session.peer), session.local, session.reachable_by}) {
      const auto why_not = end ? why_no_end(*end) : std::string_view();
      if (!why_not.empty())
        return leave_out(object, fmt::format("{}{} {}", end->to_string(), of_whom(session, *end), why_not));
    }
    if (session.peer_as == 0)
      return leave_out(object, fmt::format("{} has no AS number", session.peer.to_string()));
    const auto [it, is_new] = by_neighbour_.emplace(std::pair{session.peer, session.port}, session.because);
    if (is_new) {
      out_.sessions.push_back(std::move(session));
    } else if (session.kind != Session::Kind::kMesh && it->second != session.because) {
      leave_out(object,
                fmt::format("{} is a neighbour already, by {}", session.peer.to_string(), it->second));
    }
  }

  // " of Node host2" where an end is a host's own address.
  std::string of_whom(const Session& session, const IpAddress& end) const {
    if (!session.peer_node.empty() && end == session.peer) return " of Node " + session.peer_node;
    return end == address_of(self_, end.family()) ? " of Node " + input_.node : "";
  }

  // What sessions with other hosts have in common.
  std::optional<Session> with_host(const Node& other, Family family) const {
    const auto here = address_of(self_, family);
    const auto there = address_of(other, family);
    if (!here || !there) return std::nullopt;
    Session session;
    session.peer_node = other.metadata.name;
    session.peer = *there;
    session.port = port_of(other.metadata.name);
    session.peer_as = as_number_of(other);
    session.local_as = as_number_of(self_);
    session.local = here;
    // One of the two connects, so that two connections do not cross.
    session.passive = here->to_string() < there->to_string();
    return session;
  }

  Result<std::optional<std::string>> password(const std::optional<SecretKey>& key) const {
    if (!key) return std::nullopt;
    TRY(auto text, secrets_(*key));
    if (text.empty() || text.size() > kLongestPassword)
      return fail(ErrorCode::kInvalid, "the password {}/{} must have 1 to {} bytes", key->name, key->key,
                  kLongestPassword);
    const auto unspeakable = [](char c) { return c == '"' || static_cast<unsigned char>(c) < 0x20; };
    if (std::ranges::any_of(text, unspeakable))
      return fail(ErrorCode::kInvalid, "the password {}/{} must not contain \" or control characters",
                  key->name, key->key);
    return text;
  }

  void add_mesh() {
    const auto* common = settings_.common();
    if ((common != nullptr && !common->mesh.value_or(true)) || self_.reflector_cluster) return;
    const auto secret = password(common ? common->mesh_password : std::nullopt);
    if (!secret) return leave_out("the node mesh", secret.error().message);
    for (const auto& [name, node] : input_.nodes) {
      if (name == input_.node || node.reflector_cluster) continue;
      for (const auto family : kFamilies) {
        auto session = with_host(node, family);
        if (!session) continue;
        session->kind = Session::Kind::kMesh;
        session->because = "the node mesh";
        session->password = *secret;
        if (common != nullptr) session->restart_time = common->mesh_restart_time;
        session->name = name_of(session->kind, session->peer, session->port);
        add(*std::move(session), "the node mesh");
      }
    }
  }

  // Whether the peer is for the host.
  bool concerns(const BgpPeer& peer, const Node& node) const {
    if (!peer.node.empty()) return peer.node == node.metadata.name;
    return peer.node_selector.empty() || selects(peer.node_selector, node.metadata.labels);
  }

  void add_peer(const std::string& name, const BgpPeer& peer) {
    const auto object = fmt::format("BGPPeer {}", name);
    const bool here = concerns(peer, self_);
    const bool reversed =
        peer.reverse && !peer.peer_selector.empty() && selects(peer.peer_selector, self_.metadata.labels);
    if (!here && !reversed) return;
    const auto secret = password(peer.password);
    if (!secret) return leave_out(object, secret.error().message);
    for (const auto& filter : peer.filters) {
      if (!input_.filters.contains(filter))
        return leave_out(object, fmt::format("there is no BGPFilter {}", filter));
    }
    if (peer.address) return add_router(object, peer, *secret);
    if (!peer.local_workload_selector.empty()) return add_workloads(object, peer, *secret);
    if (peer.peer_selector.empty()) return leave_out(object, "it says nobody to speak with");
    for (const auto& [other_name, node] : input_.nodes) {
      if (other_name == input_.node) continue;
      const bool forth = here && selects(peer.peer_selector, node.metadata.labels);
      if (!forth && !(reversed && concerns(peer, node))) continue;
      for (const auto family : kFamilies) {
        if (auto session = with_host(node, family)) add_shaped(*std::move(session), object, peer, *secret);
      }
    }
  }

  // What all sessions of a BGPPeer have from it.
  void add_shaped(Session session, const std::string& object, const BgpPeer& peer,
                  const std::optional<std::string>& secret) {
    const bool for_certain_hosts = !peer.node.empty() || !peer.node_selector.empty();
    if (session.kind != Session::Kind::kLocalWorkload)
      session.kind = for_certain_hosts ? Session::Kind::kNode : Session::Kind::kGlobal;
    session.because = object;
    if (peer.local_as_number) session.local_as = *peer.local_as_number;
    if (!peer.from_node_address && session.kind != Session::Kind::kLocalWorkload) session.local.reset();
    session.filters = peer.filters;
    session.next_hop = peer.next_hop;
    session.password = secret;
    session.restart_time = peer.restart_time;
    session.keepalive_time = peer.keepalive_time;
    session.allowed_local_as_numbers = peer.allowed_local_as_numbers;
    session.ttl_hops = peer.ttl_hops;
    session.reachable_by = peer.reachable_by;
    if (self_.reflector_cluster && session.internal()) {
      const auto other = input_.nodes.find(session.peer_node);
      session.reflector_client =
          other == input_.nodes.end() || other->second.reflector_cluster != self_.reflector_cluster;
    }
    session.name = name_of(session.kind, session.peer, session.port);
    add(std::move(session), object);
  }

  void add_router(const std::string& object, const BgpPeer& peer, const std::optional<std::string>& secret) {
    const auto family = peer.address->family();
    if (address_of(self_, family) == *peer.address) return;  // a peer for all hosts, and we are it
    const auto other = std::ranges::find_if(
        input_.nodes, [&](const auto& node) { return address_of(node.second, family) == *peer.address; });
    std::optional<Session> session;
    if (other != input_.nodes.end()) {
      session = with_host(other->second, family);
    } else if (const auto here = address_of(self_, family)) {
      session.emplace();
      session->peer = *peer.address;
      session->local = here;
      session->local_as = as_number_of(self_);
      session->peer_as = session->local_as;
    }
    if (!session)
      return leave_out(object,
                       fmt::format("this host has no {} address", family == Family::kIpv4 ? "IPv4" : "IPv6"));
    if (peer.as_number != 0) session->peer_as = peer.as_number;
    if (peer.port != 0) session->port = peer.port;
    add_shaped(*std::move(session), object, peer, secret);
  }

  void add_workloads(const std::string& object, const BgpPeer& peer,
                     const std::optional<std::string>& secret) {
    for (const auto& workload : input_.workloads) {
      if (!selects(peer.local_workload_selector, workload.labels)) continue;
      for (const auto& address : workload.addresses) {
        Session session;
        session.kind = Session::Kind::kLocalWorkload;
        session.peer = address;
        session.peer_as = peer.as_number;
        session.local_as = as_number_of(self_);
        session.local = settings_.get(&BgpConfiguration::workload_peering, address.family());
        add_shaped(std::move(session), object, peer, secret);
      }
    }
  }

  const Input& input_;
  const Node& self_;
  const Secrets& secrets_;
  Settings settings_;
  std::map<std::pair<IpAddress, std::uint16_t>, std::string> by_neighbour_;  // why it is one
  Sessions out_;
};

}  // namespace

Sessions sessions_of(const Input& input, const Node& self, const Secrets& secrets) {
  return Builder(input, self, secrets).build();
}

}  // namespace ocicat::network::bgp
