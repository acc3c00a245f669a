// Keeps the server told how the agent is.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/agent_status.h"
#include "agent/news.h"
#include "api/client/client.h"
#include "base/mailbox.h"

namespace ocicat::agent {

// One thread. A server that is away or refuses costs nothing but the status there: news waits, absorbed.
class StatusReporter {
 public:
  struct Observer {
    std::function<void(const News&, const AgentStatus&)> on_news;  // for metrics; on the reporter's thread
    std::function<void(const std::string& error)> on_write;        // empty: written
  };

  StatusReporter(api::Address server, AgentStatus status, Observer observer);
  ~StatusReporter();  // stops and joins, after a request that is under way
  StatusReporter(const StatusReporter&) = delete;
  StatusReporter& operator=(const StatusReporter&) = delete;

  // From any thread.
  void tell(News news);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::agent
