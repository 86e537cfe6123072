"""API keys as a small team would write them: FastAPI, hashlib and a table of SQLite."""

import hashlib
import json
import os
import sqlite3
import time
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException

app = FastAPI()
# One connection for the worker: its event loop is one thread, and a look-up is too short to hand to another.
database = sqlite3.connect(f"file:{os.environ['DATABASE']}?mode=ro", uri=True, check_same_thread=False)


@app.get("/verify")
async def verify(permission: str, x_api_key: Annotated[str, Header()]):
    digest = hashlib.sha256(x_api_key.encode()).digest()
    row = database.execute(
        "SELECT id, workspace_id, account_id, permissions, is_disabled, expires_at FROM api_keys WHERE digest = ?",
        (digest,),
    ).fetchone()
    if row is None:
        raise HTTPException(401, "unknown key")
    key_id, workspace_id, account_id, permissions, is_disabled, expires_at = row
    if is_disabled or (expires_at is not None and expires_at <= time.time()):
        raise HTTPException(401, "not a valid key")
    permissions = json.loads(permissions)
    if permission not in permissions:
        raise HTTPException(403, "the key lacks a permission")
    return {
        "valid": True,
        "key_id": key_id,
        "workspace_id": workspace_id,
        "service_account_user_id": account_id,
        "permissions": permissions,
        "expires_at": expires_at,
    }
