#include "cli/system_status.h"

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <optional>

namespace ocicat::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Reading {
  views::SystemStatus status;
  std::string resource_version;  // of the agents' reports: watch from here
};

Result<std::vector<std::string>> silent_nodes(api::Client& client,
                                              const std::vector<views::AgentView>& agents) {
  TRY(const api::Listed nodes, client.list(Kind::kNode, {}));
  std::vector<std::string> silent;
  for (const boost::json::object& node : nodes.items) {
    std::string name = views::text_at(node, {"metadata", "name"});
    if (std::ranges::find(agents, name, &views::AgentView::node) == agents.end())
      silent.push_back(std::move(name));
  }
  return silent;
}

Result<Reading> read(api::Client& client) {
  Reading reading;
  TRY(const boost::json::value answer, client.get_raw("/ocicat/status"));
  if (!answer.is_object()) return fail(ErrorCode::kUnavailable, "what answers is not an ocicat server");
  reading.status.server = views::ServerStatus::read(answer.get_object());
  TRY(const api::Listed agents, client.list(Kind::kAgentStatus, {}));
  for (const boost::json::object& agent : agents.items)
    reading.status.agents.push_back(views::AgentView::read(agent));
  std::ranges::sort(reading.status.agents, {}, &views::AgentView::node);
  reading.resource_version = agents.resource_version;
  TRY(reading.status.silent_nodes, silent_nodes(client, reading.status.agents));
  TRY(const api::Listed configurations, client.list(Kind::kFelixConfiguration, {}));
  views::DatapathsInUse datapaths;
  for (const auto& agent : reading.status.agents) {
    datapaths.any.insert(agent.dataplane);
    if (!agent.host_endpoints.empty()) datapaths.with_host_endpoints.insert(agent.dataplane);
  }
  reading.status.idle = views::idle_settings(configurations.items, datapaths);
  return reading;
}

void take(views::SystemStatus& status, const api::Client::Event& event) {
  if (event.type == api::Client::EventType::kBookmark) return;
  views::AgentView agent = views::AgentView::read(event.object);
  std::erase(status.silent_nodes, agent.node);
  std::erase_if(status.agents, [&](const views::AgentView& known) { return known.node == agent.node; });
  if (event.type == api::Client::EventType::kDeleted) {
    status.silent_nodes.push_back(agent.node);
  } else {
    status.agents.push_back(std::move(agent));
  }
  std::ranges::sort(status.agents, {}, &views::AgentView::node);
  std::ranges::sort(status.silent_nodes);
}

}  // namespace

Result<views::SystemStatus> read_system_status(api::Client& client) {
  TRY(Reading reading, read(client));
  return std::move(reading.status);
}

Result<views::SystemStatus> wait_until_applied(api::Client& client, std::chrono::milliseconds patience) {
  const Clock::time_point deadline = Clock::now() + patience;
  TRY(Reading reading, read(client));
  views::SystemStatus& status = reading.status;
  const auto waiting = [&] { return !views::who_is_behind(status).empty() && Clock::now() < deadline; };
  while (waiting()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    const auto on_event = [&](const api::Client::Event& event) {
      take(status, event);
      reading.resource_version = views::text_at(event.object, {"metadata", "resourceVersion"});
      return waiting();
    };
    const auto ended = client.watch(Kind::kAgentStatus, {}, reading.resource_version, on_event, left);
    if (!waiting()) break;
    if (!ended && ended.error().code != ErrorCode::kExpired) return std::unexpected(ended.error());
    // The server may have been opened again, and over other data.
    TRY(Reading anew, read(client));
    // What is waited for stays what it was at the start, if those are still the data.
    if (anew.status.server.incarnation == status.server.incarnation) anew.status.server = status.server;
    reading = std::move(anew);
  }
  return std::move(status);
}

}  // namespace ocicat::cli
