// What an agent measures of itself, for Prometheus.
#pragma once

#include <memory>
#include <string>

#include "agent/agent_status.h"
#include "agent/news.h"

namespace ocicat::agent {

// Safe for any number of threads.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void sent(const Revisions& revisions);           // to the dataplane
  void reported(const dataplane::Report& report);  // by the dataplane
  void observe(const News& news, const AgentStatus& status);
  void status_written(bool ok);
  void server_connected(bool connected);
  bool applied_once() const;  // the dataplane has brought something into the kernel

  std::string text() const;  // Prometheus text format

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::agent
