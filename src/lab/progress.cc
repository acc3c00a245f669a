#include "lab/progress.h"

#include <boost/json.hpp>
#include <thread>

#include "views/status.h"

namespace ocicat::lab {
namespace {

using Clock = std::chrono::steady_clock;

// How often to look again; far below what anybody notices, far above what looking costs.
constexpr std::chrono::milliseconds kPause{3};

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

}  // namespace

Result<void> wait_until_applied(api::Client& client, const std::map<std::string, int>& pid_by_host,
                                std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  TRY(const auto status, client.get_raw("/ocicat/status"));
  if (!status.is_object()) return fail(ErrorCode::kInternal, "the server's status cannot be read");
  const auto wanted = views::ServerStatus::read(status.get_object());
  while (true) {
    TRY(const auto behind, who_is_behind(client, pid_by_host, wanted));
    if (behind.empty()) return {};
    if (Clock::now() >= deadline) {
      return fail(ErrorCode::kUnavailable, "not every host is up to date after {} ms: {}", patience.count(),
                  behind);
    }
    std::this_thread::sleep_for(kPause);
  }
}

Result<void> wait_until_serving(const api::Address& address, std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  while (true) {
    api::Client client(address);
    const auto status = client.get_raw("/ocicat/status");
    if (status) return {};
    if (Clock::now() >= deadline) return within("the server does not answer", status.error());
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace ocicat::lab
