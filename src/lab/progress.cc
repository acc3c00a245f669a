#include "lab/progress.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/ip.h"
#include "lab/objects.h"
#include "lab/patience.h"
#include "lab/process.h"
#include "views/node_status.h"
#include "views/status.h"

namespace ocicat::lab {
namespace {

// Empty where the agent is as far as wanted.
std::string what_is_missing(const std::map<std::string, views::AgentView>& agents, const std::string& host,
                            int pid, const views::ServerStatus& wanted) {
  const auto agent = agents.find(host);
  if (agent == agents.end()) return "its agent has not reported yet";
  if (agent->second.pid != static_cast<std::uint64_t>(pid))
    return "its agent has not reported since it started";
  return views::what_is_missing(agent->second, wanted);
}

Result<std::string> who_is_behind(api::Client& client, const std::map<std::string, int>& pid_by_host,
                                  const views::ServerStatus& wanted) {
  TRY(const auto listed, client.list(Kind::kAgentStatus, std::nullopt));
  std::map<std::string, views::AgentView> agents;
  for (const auto& item : listed.items) {
    auto agent = views::AgentView::read(item);
    agents.insert_or_assign(agent.node, agent);
  }
  std::string behind;
  for (const auto& [host, pid] : pid_by_host) {
    const auto missing = what_is_missing(agents, host, pid, wanted);
    if (!missing.empty()) behind += fmt::format("{}{}: {}", behind.empty() ? "" : "; ", host, missing);
  }
  return behind;
}

std::string what_is_not_peered(const std::map<std::string, views::NodeStatus>& nodes, const std::string& host,
                               int pid) {
  const auto node = nodes.find(host);
  if (node == nodes.end() || node->second.agent.pid != static_cast<std::uint64_t>(pid) || !node->second.bgp)
    return fmt::format("{}: its agent has not reported", host);
  if (!node->second.bgp->running)
    return fmt::format("{}: BIRD does not run: {}", host, node->second.bgp->error);
  const auto troubles = views::bgp_troubles(node->second);
  return troubles.empty() ? "" : troubles.front();
}

// The routes that BIRD has written in one network namespace, and by which link each leads; empty: by none.
using LinkByPrefix = std::map<Prefix, std::string>;

Result<LinkByPrefix> routes_of_bird(const std::string& network_namespace) {
  LinkByPrefix links;
  for (const auto* family : {"-4", "-6"}) {
    TRY(const auto printed,
        run({"ip", "-n", network_namespace, family, "-j", "route", "show", "proto", "bird"}));
    boost::system::error_code failed;
    const auto routes = boost::json::parse(printed.empty() ? "[]" : printed, failed);
    if (failed || !routes.is_array())
      return fail(ErrorCode::kInternal, "`ip route` cannot be read: {}", printed);
    for (const auto& route : routes.get_array()) {
      if (!route.is_object()) continue;
      const auto prefix = Prefix::parse(views::text_at(route.get_object(), {"dst"}), true);
      if (!prefix) continue;
      const bool leads = views::text_at(route.get_object(), {"gateway"}) != "";
      links.emplace(*prefix, leads ? views::text_at(route.get_object(), {"dev"}) : "");
    }
  }
  return links;
}

// The link that the longest route to the address leads by.
std::string_view link_to(const LinkByPrefix& links, const IpAddress& address) {
  for (auto length = bits_of(address.family()); length >= 0; --length) {
    const auto it = links.find(Prefix{address, static_cast<std::uint8_t>(length)}.masked());
    if (it != links.end()) return it->second;
  }
  return {};
}

// What is not as it should be; empty: nothing.
std::string difference(const LinkByPrefix& links, const LinkByAddress& wanted) {
  for (const auto& [address, link] : wanted) {
    if (link_to(links, address) != link)
      return fmt::format("{} is to be reached by {}, and is by '{}'", address.to_string(), link,
                         link_to(links, address));
  }
  for (const auto& [prefix, link] : links) {
    if (prefix.is_host() && is_pod_address(prefix.address) && !wanted.contains(prefix.address))
      return fmt::format("there still is a route to {}", prefix.address.to_string());
  }
  return {};
}

}  // namespace

Result<void> wait_until_tunnelled(api::Client& client, const LabRecord& lab,
                                  std::chrono::milliseconds patience) {
  return wait_until_complete(patience, [&]() -> Result<std::string> {
    TRY(const auto nodes, client.list(Kind::kNode, std::nullopt));
    const auto missing = std::ranges::find_if(
        nodes.items, [&](const boost::json::object& node) { return !says_its_tunnels(node, lab); });
    if (missing == nodes.items.end()) return "";
    return fmt::format("{} has no address for its tunnels", views::text_at(*missing, {"metadata", "name"}));
  });
}

Result<void> wait_until_peered(api::Client& client, const std::map<std::string, int>& pid_by_host,
                               std::chrono::milliseconds patience) {
  return wait_until_complete(patience, [&]() -> Result<std::string> {
    TRY(const auto listed, client.list(Kind::kAgentStatus, std::nullopt));
    std::map<std::string, views::NodeStatus> nodes;
    for (const auto& item : listed.items) {
      auto node = views::NodeStatus::read(item);
      nodes.insert_or_assign(node.agent.node, node);
    }
    std::string missing;
    for (const auto& [host, pid] : pid_by_host) {
      if (missing.empty()) missing = what_is_not_peered(nodes, host, pid);
    }
    return missing;
  });
}

Result<void> wait_until_routed(const std::function<LinkByAddressByNamespace()>& wanted,
                               std::chrono::milliseconds patience) {
  return wait_until_complete(patience, [&]() -> Result<std::string> {
    for (const auto& [network_namespace, links] : wanted()) {
      TRY(const auto routed, routes_of_bird(network_namespace));
      if (const auto amiss = difference(routed, links); !amiss.empty())
        return fmt::format("in {} {}", network_namespace, amiss);
    }
    return "";
  });
}

Result<void> wait_until_applied(api::Client& client, const std::map<std::string, int>& pid_by_host,
                                std::chrono::milliseconds patience) {
  TRY(const auto status, client.get_raw("/ocicat/status"));
  if (!status.is_object()) return fail(ErrorCode::kInternal, "the server's status cannot be read");
  const auto wanted = views::ServerStatus::read(status.get_object());
  return wait_until_complete(patience, [&] { return who_is_behind(client, pid_by_host, wanted); });
}

Result<void> with_last_words(Result<void> waited, const Layout& layout, const LabRecord& lab) {
  if (waited) return waited;
  auto text = waited.error().message;
  for (const auto& host : lab.host_names()) {
    const auto name = fmt::format("agent-{}", host);
    const auto process = recorded(layout.process_file(name));
    text +=
        fmt::format("; agent of {}{}: {}", host, process && is_running(*process) ? "" : " (it does not run)",
                    tail(layout.log_file(name), 2));
  }
  return fail(waited.error().code, "{}", text);
}

Result<void> wait_until_serving(const api::Address& address, std::chrono::milliseconds patience) {
  return wait_until_complete(patience, [&]() -> Result<std::string> {
    const auto status = api::Client(address).get_raw("/ocicat/status");
    return status ? "" : "the server does not answer: " + status.error().message;
  });
}

}  // namespace ocicat::lab
