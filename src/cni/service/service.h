// What the agent does for container runtimes: gives containers an interface, an address and policy, and takes
// all of it back.
//
//   threads  any number call at once; what is about one container, or one interface, waits for its turn
//   crash    an attachment is on disk before any of it is made: what a dead agent left half made is taken
//            back by the next, and what nobody wants any more is tried again until it is gone
//   closed   ADD answers when the endpoint's policy is in force in the kernel; where it is not in time,
//            everything is taken back
//   source   docs/spec: semantics.md 6; containernetworking/cni, SPEC.md 1.1.0
//   design   docs/design/cni.md
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cni/service/enforcement.h"
#include "ipam/documents.h"
#include "ipam/group_allocator.h"
#include "kernel/workload_links.h"

namespace ocicat::cni {

struct Reply {
  bool done = false;
  std::string text;  // for standard output: a result, nothing, or an error object
};

class Service {
 public:
  struct Options {
    std::string node;
    std::filesystem::path folder;  // see places.h
    std::string boot;              // which boot of the kernel this is
    std::chrono::milliseconds policy_patience{10'000};
  };
  struct Parts {  // borrowed; they outlive the service
    ipam::GroupAllocator* allocator = nullptr;
    kernel::WorkloadLinks* links = nullptr;
    Enforcement* enforcement = nullptr;
    std::function<std::unique_ptr<ipam::Documents>()> documents;  // one for each thread that asks at a time
    std::function<std::string()> why_not_ready;                   // empty: workloads can be served
    std::function<std::string()> why_locked;  // why nothing is to be added, and what to run; empty: it is
  };

  // Takes over what is on disk, and goes on taking back what nobody wants on a thread of its own.
  static Result<std::unique_ptr<Service>> start(Options options, const Parts& parts);
  ~Service();  // stops and joins
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // The answer to a Message.
  Reply answer(std::string_view message);

  // How many attachments wait for what is left of them to be taken back.
  std::size_t unwanted() const;

 private:
  struct State;
  explicit Service(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The boot of this kernel; empty where it does not say.
std::string this_boot();

}  // namespace ocicat::cni
