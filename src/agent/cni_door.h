// Where container runtimes, by way of ocicat-cni, reach the agent: a Unix socket in a folder of its own.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "agent/enforcement_watch.h"
#include "api/client/client.h"
#include "base/result.h"

namespace ocicat::agent {

class CniDoor {
 public:
  struct Options {
    std::string node;
    std::filesystem::path folder;
    api::Address server;
    EnforcementWatch* enforcement = nullptr;  // outlives it
    std::function<std::string()> why_not_ready;
  };

  // In the network namespace of the caller, into which workloads are wired. Fails where another agent has the
  // folder.
  static Result<std::unique_ptr<CniDoor>> open(Options options);
  ~CniDoor();  // lets calls that are under way finish
  CniDoor(const CniDoor&) = delete;
  CniDoor& operator=(const CniDoor&) = delete;

 private:
  struct State;
  explicit CniDoor(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::agent
