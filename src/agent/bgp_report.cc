#include "agent/bgp_report.h"

#include <algorithm>
#include <boost/json.hpp>

namespace ocicat::agent {
namespace {

namespace json = boost::json;

// As CalicoNodeStatus calls them.
std::string_view type_of(network::bgp::Session::Kind kind) {
  using Kind = network::bgp::Session::Kind;
  switch (kind) {
    case Kind::kMesh:
      return "NodeMesh";
    case Kind::kGlobal:
      return "GlobalPeer";
    case Kind::kNode:
      return "NodePeer";
    case Kind::kLocalWorkload:
      return "LocalWorkload";
  }
  return "NodePeer";
}

// A kernel drops what is signed with another password than its own and says nothing, so that all that can be
// seen is silence.
constexpr std::string_view kPassword = "it has a password: see that both sides have the same";

std::string reason_of(const BgpReport::Session& session) {
  if (session.state.established()) return {};
  auto reason = session.state.reason;
  if (reason.empty() && session.state.state == "Passive")
    reason = "the other side is to connect, and has not";
  if (!session.has_password) return reason;
  return reason.empty() ? std::string(kPassword) : fmt::format("{}; {}", reason, kPassword);
}

json::object to_json(const BgpReport::Session& session) {
  return {{"peerIP", session.wanted.peer.to_string()},
          {"port", session.wanted.port},
          {"asNumber", session.wanted.peer_as},
          {"node", session.wanted.peer_node},
          {"type", type_of(session.wanted.kind)},
          {"because", session.wanted.because},
          {"state", session.state.state.empty() ? "Unknown" : session.state.state},
          {"since", session.state.since},
          {"reason", reason_of(session)},
          {"imported", session.state.imported},
          {"exported", session.state.exported}};
}

}  // namespace

BgpReport report_of(const network::bgp::BgpIntent& intent, const Result<void>& applied,
                    const Result<dataplane::BirdStatus>& status) {
  BgpReport report;
  report.left_out = intent.left_out;
  report.running = status.has_value();
  if (!applied) {
    report.error = applied.error().message;
  } else if (!status) {
    report.error = status.error().message;
  }
  for (const auto& wanted : intent.sessions) {
    auto& session = report.sessions.emplace_back();
    session.wanted = wanted;
    session.has_password = wanted.password.has_value();
    session.wanted.password.reset();  // nobody is told which
    if (!status) continue;
    const auto it = std::ranges::find(status->sessions, wanted.name, &dataplane::SessionState::name);
    if (it != status->sessions.end()) session.state = *it;
  }
  if (status) report.recovering = status->recovering;
  return report;
}

bool all_up(const BgpReport& report) {
  return report.running && report.error.empty() && !report.recovering &&
         std::ranges::all_of(report.sessions, [](const auto& one) { return one.state.established(); });
}

bool all_up(const dataplane::BirdStatus& status) {
  return !status.recovering && std::ranges::all_of(status.sessions, &dataplane::SessionState::established);
}

json::object to_json(const BgpReport& report) {
  std::vector<const BgpReport::Session*> in_order;
  for (const auto& session : report.sessions) in_order.push_back(&session);
  std::ranges::stable_sort(in_order, {}, [](const auto* session) { return session->state.established(); });
  json::array sessions;
  for (const auto* session : in_order) {
    if (sessions.size() == kMaxSessions) break;
    sessions.push_back(to_json(*session));
  }
  json::array left_out;
  for (const auto& one : report.left_out) {
    if (left_out.size() == kMaxSessions) break;
    left_out.push_back(json::object{{"object", one.object}, {"reason", one.reason}});
  }
  const auto established =
      std::ranges::count_if(report.sessions, [](const auto& session) { return session.state.established(); });
  return {{"running", report.running},
          {"recovering", report.recovering},
          {"established", established},
          {"wanted", report.sessions.size()},
          {"sessions", std::move(sessions)},
          {"leftOut", std::move(left_out)},
          {"error", report.error}};
}

}  // namespace ocicat::agent
