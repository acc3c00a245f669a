// What the server is told of a workload that has been given an interface.
#pragma once

#include <boost/json/object.hpp>

#include <optional>
#include <string>

#include "cni/attachment.h"
#include "cni/configuration.h"
#include "cni/wishes.h"

namespace ocicat::cni {

// A pod's annotations and a namespace's, of documents as the server has them. What cannot be read is none.
Labels annotations_of(const boost::json::object& document);

// Of a workload that has no Pod document: what the runtime said of it.
boost::json::object endpoint_document(const Attachment& attachment, const std::string& node,
                                      const Configuration& configuration, const Wishes& wishes);

// The attachment that such a document was made of, if it was one of this network: names alone, those of container and
// interface as documents have them. Nothing: it names no container.
std::optional<Attachment> attachment_of(const ResourceKey& endpoint, const boost::json::object& document,
                                        const std::string& network);

// The Pod document once it has its addresses, and once it has given them back: Calico's annotations podIP,
// podIPs and containerID, and those of limits that the runtime alone knew of.
boost::json::object with_addresses(boost::json::object pod, const Attachment& attachment,
                                   const Wishes& wishes);
boost::json::object without_addresses(boost::json::object pod);

// metadata.resourceVersion; empty where there is none.
std::string revision_of(const boost::json::object& document);
// The container that an endpoint's document is about (documented_container); empty: it does not say.
std::string container_of(const boost::json::object& document);
// A Pod is an endpoint of its own only where its host's agent made the interface that it speaks of: on this
// node, and not in the host's network. Code 7.
Outcome<void> check_pod(const boost::json::object& pod, const std::string& node);

}  // namespace ocicat::cni
