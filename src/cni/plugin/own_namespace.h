// What the plugin itself does in a container's network namespace.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace ocicat::cni {

// Never the one that the plugin is in, the host's: a container has its own. That is kInvalid.
Result<UniqueFd> open_namespace(const std::string& path);

// The interface goes, and its other side with it; one that is not there is no error. The calling thread is inside
// meanwhile, and then where it was.
Result<void> remove_interface(const UniqueFd& network_namespace, const std::string& name);

}  // namespace ocicat::cni
