#include "views/node_status.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <iterator>

#include "views/text_table.h"

namespace ocicat::views {
namespace {

namespace json = boost::json;

template <class F>
void each_object(const json::object& object, Path path, F&& f) {
  const auto* value = find_at(object, path);
  const auto* list = value == nullptr ? nullptr : value->if_array();
  if (list == nullptr) return;
  for (const auto& entry : *list) {
    if (const auto* found = entry.if_object()) f(*found);
  }
}

bool is_true(const json::object& object, Path path) {
  const auto* value = find_at(object, path);
  return value != nullptr && value->is_bool() && value->get_bool();
}

BgpView read_bgp(const json::object& bgp) {
  BgpView view;
  view.running = is_true(bgp, {"running"});
  view.recovering = is_true(bgp, {"recovering"});
  view.established = number_at(bgp, {"established"});
  view.wanted = number_at(bgp, {"wanted"});
  view.error = text_at(bgp, {"error"});
  each_object(bgp, {"sessions"}, [&](const json::object& session) {
    view.sessions.push_back({text_at(session, {"peerIP"}), text_at(session, {"node"}),
                             text_at(session, {"type"}), text_at(session, {"state"}),
                             text_at(session, {"since"}), text_at(session, {"reason"}),
                             number_at(session, {"imported"}), number_at(session, {"exported"})});
  });
  each_object(bgp, {"leftOut"}, [&](const json::object& one) {
    view.left_out.push_back({text_at(one, {"object"}), text_at(one, {"reason"})});
  });
  return view;
}

// Of what the agent cannot read, which counts for nothing: what would be for its router.
std::vector<Refusal> refused_of_bgp(const AgentView& agent) {
  std::vector<Refusal> refused;
  std::ranges::copy_if(agent.refused, std::back_inserter(refused),
                       [](const Refusal& one) { return one.object.starts_with("BGP"); });
  return refused;
}

std::string line_of(const TunnelView& tunnel) {
  auto line = fmt::format("tunnel {}: MTU {}", printable(tunnel.interface_name), tunnel.mtu);
  if (!tunnel.address.empty()) line += ", address " + printable(tunnel.address);
  if (tunnel.ends)
    line += fmt::format(", ends of {} of {} other hosts", tunnel.ends->known, tunnel.ends->hosts);
  return line;
}

json::object to_json(const TunnelView& tunnel) {
  json::object object{{"interface", tunnel.interface_name}, {"mtu", tunnel.mtu}};
  if (!tunnel.address.empty()) object["address"] = tunnel.address;
  if (tunnel.ends) {
    object["hosts"] = tunnel.ends->hosts;
    object["ends"] = tunnel.ends->known;
  }
  return object;
}

}  // namespace

NodeStatus NodeStatus::read(const json::object& document) {
  NodeStatus status{.agent = AgentView::read(document),
                    .mtu = number_at(document, {"status", "mtu"}),
                    .routes = number_at(document, {"status", "routes", "wanted"}),
                    .routes_ready = number_at(document, {"status", "routes", "ready"})};
  const auto* notes = find_at(document, {"status", "notes"});
  if (const auto* list = notes == nullptr ? nullptr : notes->if_array()) {
    for (const auto& note : *list) {
      if (note.is_string()) status.notes.emplace_back(note.get_string());
    }
  }
  each_object(document, {"status", "tunnels"}, [&](const json::object& tunnel) {
    auto& view = status.tunnels.emplace_back(
        TunnelView{text_at(tunnel, {"interface"}), number_at(tunnel, {"mtu"}), text_at(tunnel, {"address"})});
    if (tunnel.contains("hosts")) view.ends = {number_at(tunnel, {"hosts"}), number_at(tunnel, {"ends"})};
  });
  const auto* bgp = find_at(document, {"status", "bgp"});
  if (bgp == nullptr || !bgp->is_object()) return status;
  status.bgp = read_bgp(bgp->get_object());
  std::ranges::copy(refused_of_bgp(status.agent), std::back_inserter(status.bgp->left_out));
  return status;
}

std::vector<std::string> bgp_troubles(const NodeStatus& status) {
  std::vector<std::string> troubles;
  if (!status.bgp) return troubles;
  const auto& bgp = *status.bgp;
  const auto tell = [&](std::string text) {
    troubles.push_back(fmt::format("{}: {}", status.agent.node, text));
  };
  if (!bgp.error.empty()) tell(bgp.error);
  for (const auto& one : bgp.left_out) tell(fmt::format("{} is left out: {}", one.object, one.reason));
  for (const auto& session : bgp.sessions) {
    if (session.state == "Established") continue;
    tell(fmt::format("the session with {}{} is {}{}", session.peer,
                     session.node.empty() ? "" : fmt::format(" ({})", session.node), session.state,
                     session.reason.empty() ? "" : ": " + session.reason));
  }
  if (bgp.recovering) tell("BIRD keeps the routes of the one before until its neighbours have spoken");
  return troubles;
}

std::string to_text(const NodeStatus& status, TimePoint now) {
  std::string text = fmt::format("Node {}: {}, endpoints {}/{}, {}\n", printable(status.agent.node),
                                 printable(status.agent.dataplane), status.agent.endpoints_ready,
                                 status.agent.endpoints_wanted,
                                 is_alive(status.agent, now) ? "its agent reports" : "its agent is silent");
  if (!status.agent.error.empty()) text += fmt::format("  error: {}\n", printable(status.agent.error));
  if (status.mtu != 0) text += fmt::format("  workloads may send {} bytes at once (MTU)\n", status.mtu);
  for (const auto& tunnel : status.tunnels) text += "  " + line_of(tunnel) + "\n";
  if (status.routes_ready < status.routes) {
    text += fmt::format("  routes: {} of {} in the kernel; see: ocicat routes --node {}\n",
                        status.routes_ready, status.routes, printable(status.agent.node));
  } else {
    text += fmt::format("  routes: {}, all in the kernel\n", status.routes);
  }
  for (const auto& note : status.notes) text += fmt::format("  note: {}\n", printable(note));
  if (!status.bgp) return text + "BGP: this agent keeps no router\n";
  const auto& bgp = *status.bgp;
  text += fmt::format("BGP: {} of {} sessions established{}{}\n", bgp.established, bgp.wanted,
                      bgp.running ? "" : ", BIRD does not run",
                      bgp.recovering ? ", recovering from a restart" : "");
  if (!bgp.error.empty()) text += fmt::format("  error: {}\n", printable(bgp.error));
  for (const auto& one : bgp.left_out)
    text += fmt::format("  left out: {}: {}\n", printable(one.object), printable(one.reason));
  if (bgp.sessions.empty()) return text;
  TextTable table{{"PEER", "NODE", "TYPE", "STATE", "SINCE", "IN", "OUT", "REASON"}, {}};
  for (const auto& session : bgp.sessions) {
    table.rows.push_back({session.peer, session.node.empty() ? "-" : session.node, session.type,
                          session.state, session.since.empty() ? "-" : session.since,
                          fmt::to_string(session.imported), fmt::to_string(session.exported),
                          session.reason});
  }
  return text + table.to_string();
}

json::object to_json(const NodeStatus& status, const json::object& document, TimePoint now) {
  json::array tunnels;
  for (const auto& tunnel : status.tunnels) tunnels.emplace_back(to_json(tunnel));
  json::object object{{"node", status.agent.node},
                      {"alive", is_alive(status.agent, now)},
                      {"dataplane", status.agent.dataplane},
                      {"error", status.agent.error},
                      {"endpoints", json::object{{"wanted", status.agent.endpoints_wanted},
                                                 {"ready", status.agent.endpoints_ready}}},
                      {"routes", json::object{{"wanted", status.routes}, {"ready", status.routes_ready}}},
                      {"mtu", status.mtu},
                      {"tunnels", std::move(tunnels)},
                      {"notes", json::value_from(status.notes)}};
  const auto* bgp = find_at(document, {"status", "bgp"});
  if (bgp == nullptr || !bgp->is_object()) return object;
  auto& told = object["bgp"] = *bgp;
  const auto refused = refused_of_bgp(status.agent);
  if (refused.empty()) return object;
  auto& left_out = told.as_object()["leftOut"];
  if (!left_out.is_array()) left_out.emplace_array();
  for (const auto& [subject, reason] : refused)
    left_out.get_array().push_back(json::object{{"object", subject}, {"reason", reason}});
  return object;
}

}  // namespace ocicat::views
