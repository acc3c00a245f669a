// How far somebody has come with what a server holds.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "resources/kinds.h"

namespace ocicat {

// Revisions ascend within one incarnation of the server's store; of another one they say nothing, as its data
// may have been lost, or rolled back, in between.
struct Progress {
  std::uint64_t revision = 0;
  std::string incarnation;  // empty: the server does not tell, as kube-apiserver

  bool operator==(const Progress&) const = default;
};

using Revisions = std::map<Kind, Progress>;

}  // namespace ocicat
