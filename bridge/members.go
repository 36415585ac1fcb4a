package bridge

// The members the bridge looks for inside params, _meta, result and error.
// They are looked for whatever the method is: params may come before method.

func (e *envelope) paramMember(s *scanner, b []byte, k span) error {
	switch string(keyText(b, k)) {
	case "name":
		return once(s, &e.name)
	case "uri":
		return once(s, &e.uri)
	case "taskId":
		return once(s, &e.task)
	case "task":
		return onceMember(s, k, &e.asTask)
	case "arguments":
		return once(s, &e.args)
	case "level":
		return once(s, &e.level)
	case "protocolVersion":
		return once(s, &e.version)
	case "capabilities":
		return once(s, &e.caps)
	case "clientInfo":
		return once(s, &e.info)
	case "progressToken":
		return once(s, &e.token)
	case "requestId":
		return once(s, &e.request)
	case "notifications":
		return once(s, &e.filter)
	case "inputResponses":
		err := once(s, &e.answers)
		e.answersAt = span{k.s, s.i}
		return err
	case "requestState":
		err := once(s, &e.state)
		e.stateAt = span{k.s, s.i}
		return err
	case "_meta":
		return e.inside(s, b, &e.meta, inMeta)
	}
	return skip(s)
}

func (e *envelope) metaMember(s *scanner, b []byte, k span) error {
	key := keyText(b, k)
	if string(key) == "progressToken" {
		return once(s, &e.progress)
	}
	if len(key) < len(metaPrefix) || string(key[:len(metaPrefix)]) != metaPrefix {
		return skip(s)
	}
	switch string(key) {
	case metaVersion:
		return onceMember(s, k, &e.mVersion)
	case metaInfo:
		return onceMember(s, k, &e.mInfo)
	case metaCaps:
		return onceMember(s, k, &e.mCaps)
	case metaLevel:
		return onceMember(s, k, &e.mLevel)
	case metaSubscribe:
		return onceMember(s, k, &e.mSubscribe)
	}
	return skip(s)
}

func (e *envelope) resultMember(s *scanner, b []byte, k span) error {
	switch string(keyText(b, k)) {
	case "resultType":
		return onceMember(s, k, &e.rType)
	case "ttlMs":
		return once(s, &e.rTTL)
	case "cacheScope":
		return once(s, &e.rScope)
	case "inputRequests":
		return once(s, &e.rInputs)
	case "requestState":
		return once(s, &e.rState)
	case "protocolVersion":
		return once(s, &e.rVersion)
	case "capabilities":
		return once(s, &e.rCaps)
	case "serverInfo":
		return once(s, &e.rInfo)
	case "instructions":
		return once(s, &e.rInstructions)
	case "supportedVersions":
		return once(s, &e.rVersions)
	case "tools":
		return once(s, &e.rTools)
	case "nextCursor":
		return once(s, &e.rCursor)
	case "isError":
		p, ok := s.spanned()
		if !ok {
			return errSyntax
		}
		e.failed = b[p.s] == 't'
		return nil
	case "_meta":
		return e.inside(s, b, &e.rMeta, inResultMeta)
	}
	return skip(s)
}

func (e *envelope) resultMetaMember(s *scanner, b []byte, k span) error {
	if string(keyText(b, k)) == metaServer {
		return once(s, &e.rServer)
	}
	return skip(s)
}

func (e *envelope) faultMember(s *scanner, b []byte, k span) error {
	switch string(keyText(b, k)) {
	case "code":
		return once(s, &e.fCode)
	case "message":
		return once(s, &e.fText)
	case "data":
		return once(s, &e.fAux)
	}
	return skip(s)
}
