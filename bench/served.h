// A server with many endpoints in this process, and agents of it: the program itself, by $OCICAT_BIN.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "api/server/router.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "http/server.h"
#include "kernel/network_namespace.h"
#include "store/store.h"
#include "test/support/shapes/shape.h"

namespace ocicat::bench {

using Clock = std::chrono::steady_clock;

// A folder below /tmp of this process's own, as long as it lives.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Keeps its store in memory: no disk is measured.
class Served {
 public:
  Served();

  // Many at once; returns when all are there.
  template <class Shape>
  void load(const Shape& shape) {
    shape.each([this](const test::Item& item) { add(item); });
    await_added();
  }
  void add(const test::Item& item);
  void await_added();
  // Replaces what is there. When the store took it up, before anybody else heard of it.
  Clock::time_point change(const test::Item& item);

  std::string address() const { return "unix://" + socket(); }

 private:
  std::string socket() const { return folder_.path() / "server.sock"; }

  ScratchFolder folder_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<api::Router> router_;
  std::unique_ptr<http::Server> http_;
};

// `ocicat agent` in a host's network namespace; what it has made in maps goes with it.
class AgentProcess {
 public:
  // Borrows both.
  AgentProcess(const Served& served, const kernel::NetworkNamespace& host, std::string dataplane = "ebpf");
  ~AgentProcess();
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  void start();
  // Until it says that what the server has is in force.
  void await_ready() const;
  void kill();  // -9

  struct ProcessorSeconds {
    double user = 0, kernel = 0;
  };
  ProcessorSeconds processor() const;  // to a hundredth
  double processor_seconds() const { return processor().user + processor().kernel; }
  // Of each thread that it has now, by name, to a nanosecond.
  std::map<std::string, double> scheduled_seconds() const;
  // Of the line in /proc/PID/status, MB of 2^20 bytes.
  double megabytes(const std::string& line) const;
  const std::filesystem::path& pin_folder() const { return pin_folder_; }

 private:
  std::vector<std::string> command() const;

  const Served& served_;
  const kernel::NetworkNamespace& host_;
  const std::string dataplane_;
  ScratchFolder folder_;
  std::filesystem::path pin_folder_;
  int pid_ = 0;
};

}  // namespace ocicat::bench
