// Where people, by way of `ocicat flows`, reach the agent of a host: a Unix socket in its folder.
//
//   GET /flows                            what has been summed up, as FlowWatch::ask() says
//   GET /flows?follow=1&refused=1&namespace=NS
//                                         flows as they are seen, a line of JSON each; {"missed": N} where
//                                         some were left out
#pragma once

#include <filesystem>
#include <memory>

#include "agent/flow_watch.h"
#include "base/result.h"

namespace ocicat::agent {

std::filesystem::path flow_socket(const std::filesystem::path& run_dir);

class FlowDoor {
 public:
  // The watch outlives it.
  static Result<std::unique_ptr<FlowDoor>> open(const std::filesystem::path& run_dir, FlowWatch& watch);
  ~FlowDoor();
  FlowDoor(const FlowDoor&) = delete;
  FlowDoor& operator=(const FlowDoor&) = delete;

 private:
  struct State;
  explicit FlowDoor(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::agent
