// What the commands of a service work with.
#pragma once

#include <atomic>
#include <memory>

#include "cni/service/documents_pool.h"
#include "cni/service/journal.h"
#include "cni/service/service.h"
#include "cni/service/turns.h"

namespace ocicat::cni {

struct Context {
  Service::Options options;
  Service::Parts parts;
  std::unique_ptr<Journal> journal;
  DocumentsPool documents;
  Turns turns;
  // Some ADD has found no address; STATUS then looks how full pools are, which it else does not.
  std::atomic<bool> ran_out = false;
};

// Why a command cannot be carried out now: another time, or another way.
Failure failure_of(const Error& error, std::string message);

// Code 11 where the agent cannot serve workloads yet.
Outcome<void> check_ready(const Context& context);
// Code 11 where nothing is to be added.
Outcome<void> check_unlocked(const Context& context);

// Whether another network's ADD made the attachment, which that network's DEL is then to take back. Of one whose
// interface has gone (its container has ended, and the network been renamed meanwhile) any network's may.
bool is_anothers(const Context& context, const Attachment& attachment, const std::string& network);
Failure has_another_network(const Attachment& attachment);

kernel::WorkloadPair pair_of(const Attachment& attachment, const std::string& namespace_path);

}  // namespace ocicat::cni
