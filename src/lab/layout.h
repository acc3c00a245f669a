// Where a lab keeps its things and what it calls them.
//
// Everything a lab makes is either in its folder, /run/ocicat/lab/NAME (what an agent notes on memory, in one named
// after it: cni/places.h), or a network namespace that carries its name, so several labs live side by side and
// removing one needs nothing but its name.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ocicat::lab {

class Layout {
 public:
  // An empty name stands for $OCICAT_LAB, else "default". Lower-case letters, digits and dashes, at most 40,
  // without
  // "-host" and "-pod-", so that the namespaces of two labs cannot be mistaken for each other.
  static Result<Layout> named(std::string_view name);
  // The names of the labs whose folder is there.
  static std::vector<std::string> existing();

  const std::string& name() const { return name_; }
  std::filesystem::path folder() const;
  std::filesystem::path state_file() const { return folder() / "lab.json"; }
  std::filesystem::path pods_folder() const { return folder() / "pods"; }
  std::filesystem::path pod_file(std::string_view ns, std::string_view pod) const;
  std::filesystem::path log_file(std::string_view process) const;
  // Who runs as PROCESS: "server", "agent-host1", "listen-shop.db".
  std::filesystem::path process_file(std::string_view process) const;
  std::filesystem::path run_folder(std::string_view host) const { return folder() / "run" / host; }
  // Where a host's agent is found by ocicat-cni.
  std::filesystem::path cni_folder(std::string_view host) const { return folder() / "cni" / host; }
  // Where agents find the passwords of BGP sessions, NAME/KEY: whoever wants some puts them there.
  std::filesystem::path bgp_secrets_folder() const { return folder() / "bgp-secrets"; }
  // Where a host's agent pins eBPF objects; without a host, all of the lab's. All hosts see one such file
  // system.
  std::filesystem::path bpf_folder(std::string_view host) const {
    return std::filesystem::path("/sys/fs/bpf/ocicat-lab") / name_ / host;
  }
  std::filesystem::path server_socket() const { return folder() / "server.sock"; }
  std::filesystem::path database() const { return folder() / "server.db"; }

  std::string host_namespace(std::string_view host) const;                     // "NAME-host1"
  std::string pod_namespace(std::string_view ns, std::string_view pod) const;  // "NAME-pod-shop.db"
  bool owns_namespace(std::string_view network_namespace) const;

 private:
  explicit Layout(std::string name) : name_(std::move(name)) {}

  std::string name_;
};

}  // namespace ocicat::lab
